"""`gatepost why` tells what is recorded, or clearly that nothing is."""

import json
from pathlib import Path

import pytest
from tests.fakes import FakeRecord
from typer.testing import CliRunner, Result

from gatepost.app.store import open_database
from gatepost.cli.main import app
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.errors import GatepostError
from gatepost.settings import read


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Make a site that has recorded one message to two recipients."""
    invoke("init", str(tmp_path / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
    path = tmp_path / "site" / "gatepost.toml"
    writer = Writer(open_database(read(path)), "gw")
    writer.post(
        FakeRecord(
            *(
                Event(
                    at=1_700_000_000.0,
                    queue_id="4XYZ",
                    message_id="<1@hosp.test>",
                    direction="out",
                    sender="a@hosp.test",
                    recipient=recipient,
                    demand="encrypt",
                    treatment="openpgp",
                    rules=("tagged",),
                    reasons=("the subject asks for it", "a usable key"),
                    detail={"queued_as": "4ABC"} | more,
                )
                for recipient, more in (("bob@x.test", {}), ("carol@x.test", {"alias": "away@hosp.test"}))
            )
        )
    )
    writer.close()
    return str(path)


def test_json(config: str) -> None:
    """Each recipient's event has every column, lists as lists."""
    events = json.loads(invoke("-c", config, "why", "4XYZ", "--json").stdout)["events"]
    assert [one["recipient"] for one in events] == ["bob@x.test", "carol@x.test"]
    assert events[0] == {
        "at": "2023-11-14T22:13:20+00:00",
        "queue_id": "4XYZ",
        "message_id": "<1@hosp.test>",
        "direction": "out",
        "sender": "a@hosp.test",
        "recipient": "bob@x.test",
        "demand": "encrypt",
        "treatment": "openpgp",
        "rules": ["tagged"],
        "reasons": ["the subject asks for it", "a usable key"],
        "detail": {"queued_as": "4ABC"},
        "deliveries": [],
    }


def test_alias(config: str) -> None:
    """Whom an alias leads to is found by the alias as well."""
    events = json.loads(invoke("-c", config, "why", "4XYZ", "--to", "Away@hosp.test", "--json").stdout)["events"]
    assert [one["recipient"] for one in events] == ["carol@x.test"]


def test_text(config: str) -> None:
    """People read the decision, each reason, and where the copy went."""
    out = invoke("-c", config, "why", "1@hosp.test", "--to", "Bob@x.test").stdout
    assert "carol" not in out
    for text in ("demand encrypt, treatment openpgp", "- a usable key", "queued_as: 4ABC", "rules: tagged"):
        assert text in out


def test_nothing_known(config: str) -> None:
    """An unknown message, or a recipient it did not have, is an error that says so."""
    with pytest.raises(GatepostError, match="nothing is recorded of 9ZZZ"):
        invoke("-c", config, "why", "9ZZZ")
    with pytest.raises(GatepostError, match="to eve"):
        invoke("-c", config, "why", "4XYZ", "--to", "eve@x.test")
