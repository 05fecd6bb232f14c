"""The log's lines are what the documents say: each event with its level and names, in both forms, no content."""

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import gatepost
from gatepost import log
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.errors import StorageError, cause
from gatepost.gateway.record import MessageRecord
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.transaction import Client, Recipient, Transaction

PACKAGE = Path(gatepost.__file__).parent
ADMIN = Path(__file__).parents[3] / "docs" / "admin.md"
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Give each event of the table with its levels and names."""
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \|([^|]*)\|", ADMIN.read_text(encoding="utf-8"), re.MULTILINE)
    return {event: (set(levels.split()), set(re.findall(r"`(\w+)`", names))) for event, levels, names in rows}


def written() -> Iterator[tuple[str, str, set[str]]]:
    """Give each line that the code writes: event, level, names."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "logger"
                and node.func.attr in LEVELS
            ):
                assert isinstance(node.args[0], ast.Constant), f"{path}: an event is written out"
                names = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
                shared = any(keyword.arg is None for keyword in node.keywords)  # **about
                yield (
                    str(node.args[0].value),
                    node.func.attr,
                    names | ({"queue_id", "recipient"} if shared else set()),
                )


def test_documents_name_every_line() -> None:
    """The table in docs/admin.md holds exactly the events that the code writes, with their levels and names."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for event, level, names in written():
        levels, known = found.setdefault(event, (set(), set()))
        levels.add(level)
        known |= names

    assert documented() == found


def test_one_event_has_one_set_of_names() -> None:
    """Whoever reads the log by machine finds the same names in every line of an event."""
    names: dict[str, set[str]] = {}
    for event, _, found in written():
        assert names.setdefault(event, found) == found, event


@pytest.fixture
def restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def told(form: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    stream = io.StringIO()
    log.configure(form, stream=stream)
    monkeypatch.setattr("gatepost.gateway.record.logger", structlog.get_logger())
    bob = Recipient(parse(b"<b@p.test>"))
    judgement = Judgement(bob, Direction.OUT, Demand.ENCRYPT, ("r",), Treatment.OPENPGP, ("why",))
    plan = Plan(Answer.ACCEPT, (judgement,), ())
    transaction = Transaction(Client(), parse(b"<a@hosp.test>"), (), (bob,), (), MemoryBody(b""), "4Xy")
    MessageRecord(transaction, plan, "accept", 0.0071).tell()
    return stream.getvalue()


@pytest.mark.usefixtures("restored")
def test_message_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message's line: time, level, event, then names and values, a value that is no plain word as JSON."""
    time, _, rest = told("text", monkeypatch).partition(" ")

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", time)
    assert rest == (
        'info message queue_id=4Xy answer=accept sender=a@hosp.test recipients=["b@p.test out openpgp"]'
        " milliseconds=7.1\n"
    )


@pytest.mark.usefixtures("restored")
def test_message_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as one JSON object."""
    line = json.loads(told("json", monkeypatch))
    del line["timestamp"]

    assert line == {
        "level": "info",
        "event": "message",
        "queue_id": "4Xy",
        "answer": "accept",
        "sender": "a@hosp.test",
        "recipients": ["b@p.test out openpgp"],
        "milliseconds": 7.1,
    }


def test_causes_quote_nothing() -> None:
    """Our errors are told by their text, the system's by what it refused; any other may quote a message."""

    def raised(error: Exception) -> str:
        try:
            raise error  # noqa: TRY301 - what is under test
        except Exception as caught:  # noqa: BLE001 - any error
            return cause(caught)

    assert raised(StorageError("the database is\n down")) == "the database is down"
    assert raised(OSError(28, "No space left on device", "/spool/x")) == "/spool/x: No space left on device"
    assert raised(OSError(28, "No space left on device")) == "No space left on device"
    assert re.fullmatch(r"ValueError at [\w.]+:\d+", raised(ValueError("canary")))
    assert re.fullmatch(r"OSError at [\w.]+:\d+", raised(OSError("canary")))
