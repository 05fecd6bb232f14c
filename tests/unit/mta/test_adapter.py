"""What the adapter answers to each step."""

from pathlib import Path

import Milter
import pytest

from gatepost.gateway.metrics import NoMetrics
from gatepost.gateway.survey import Survey
from gatepost.gateway.verdict import Accept, Verdict
from gatepost.message.body import Spool
from gatepost.message.edit import Form
from gatepost.mta import adapter
from gatepost.mta.adapter import Session
from gatepost.mta.sessions import Sessions

ALL_ACTIONS = 0x1FF
ALL_STEPS = 0x1FFFFF
SILENT = Milter.P_NR_CONN | Milter.P_NR_MAIL | Milter.P_NR_HDR | Milter.P_NR_EOH


class Passing:
    """Lets everything through."""

    def check_recipient(self, *_: object) -> None:
        pass

    def survey(self, *_: object) -> Survey:
        return Survey((), None, needs_body=False, inside=True, hops=None)  # type: ignore[arg-type] # nobody looks

    def process(self, *_: object) -> Verdict:
        return Accept(Form())


def answers(tmp_path: Path, steps: int) -> list[int]:
    """Take one message up to the end of its header; gives what was answered to each step."""
    session = Session(
        mail=Passing(), sessions=Sessions(1), metrics=NoMetrics(), spool_directory=tmp_path, max_seconds=5
    )
    session.getsymval = lambda _: ""
    assert session.negotiate([ALL_ACTIONS, steps, 0, 0]) == Milter.CONTINUE
    return [
        session.connect("client.test", 2, ("192.0.2.1", 25)),
        session.envfrom_bytes(b"<a@hosp.test>"),
        session.header_bytes("Subject", b" x"),
        session.eoh(),
    ]


def test_no_answer_where_none_is_awaited(tmp_path: Path) -> None:
    """A step whose answer the mail server does not await is not answered: it would stand for the next one's."""
    assert [Milter.NOREPLY] * 4 == answers(tmp_path, ALL_STEPS)


def test_an_answer_where_one_is_awaited(tmp_path: Path) -> None:
    """A mail server that awaits every answer gets every answer."""
    assert [Milter.CONTINUE] * 4 == answers(tmp_path, ALL_STEPS & ~SILENT)


def test_a_field_that_cannot_be_kept_defers_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a step that is not answered is not forgotten: the answer at the end is a tempfail."""
    session = Session(
        mail=Passing(), sessions=Sessions(1), metrics=NoMetrics(), spool_directory=tmp_path, max_seconds=5
    )
    monkeypatch.setattr(session, "getsymval", lambda _: "", raising=False)
    monkeypatch.setattr(session, "setreply", lambda *_: None, raising=False)
    session.negotiate([ALL_ACTIONS, ALL_STEPS, 0, 0])
    session.envfrom_bytes(b"<a@hosp.test>")

    session.header_bytes("Sübject", b" x")
    session.eoh()

    assert session.eom() == Milter.TEMPFAIL


def test_one_session_too_many_is_refused(tmp_path: Path) -> None:
    """No more sessions than allowed are open at one time; where one ends another may begin."""
    sessions = Sessions(2)
    first, second, third, fourth = (
        Session(mail=Passing(), sessions=sessions, metrics=NoMetrics(), spool_directory=tmp_path, max_seconds=5)
        for _ in range(4)
    )

    assert [Milter.CONTINUE, Milter.CONTINUE, Milter.REJECT] == [
        one.negotiate([ALL_ACTIONS, ALL_STEPS, 0, 0]) for one in (first, second, third)
    ]
    third.close()
    assert fourth.negotiate([ALL_ACTIONS, ALL_STEPS, 0, 0]) == Milter.REJECT
    first.close()
    first.close()
    assert fourth.negotiate([ALL_ACTIONS, ALL_STEPS, 0, 0]) == Milter.CONTINUE
    assert third.negotiate([ALL_ACTIONS, ALL_STEPS, 0, 0]) == Milter.REJECT


class TestFaults:
    """Whatever fails in a step: a tempfail at the end, one line in the log, no traceback."""

    @pytest.fixture
    def lines(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
        lines: list[dict[str, object]] = []

        class Log:
            def __getattr__(self, level: str) -> object:
                return lambda event, **names: lines.append({"level": level, "event": event, **names})

        monkeypatch.setattr(adapter, "logger", Log())
        return lines

    @pytest.fixture
    def session(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
        counted: list[str] = []
        metrics = NoMetrics()
        monkeypatch.setattr(metrics, "put_off", counted.append, raising=False)
        session = Session(
            mail=Passing(), sessions=Sessions(1), metrics=metrics, spool_directory=tmp_path, max_seconds=5
        )
        session.counted = counted
        monkeypatch.setattr(session, "getsymval", lambda _: "", raising=False)
        monkeypatch.setattr(session, "setreply", lambda *_: None, raising=False)
        session.negotiate([ALL_ACTIONS, ALL_STEPS & ~Milter.P_SKIP, 0, 0])
        session.envfrom_bytes(b"<a@hosp.test>")
        monkeypatch.setattr(session, "getsymval", lambda name: "4Xy" if name == "i" else "", raising=False)
        return session

    def test_full_disk(
        self, session: Session, lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A body that finds no room puts the message off; closing what did not fit fails in silence."""

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device", "/spool/body-1")

        monkeypatch.setattr(Spool, "write", full)
        monkeypatch.setattr(Spool, "close", full)
        session.envrcpt_bytes(b"<b@p.test>")
        session.eoh()

        assert [session.body(b"x"), session.body(b"y"), session.eom()] == [
            Milter.CONTINUE,
            Milter.CONTINUE,
            Milter.TEMPFAIL,
        ]
        cause = "/spool/body-1: No space left on device"
        assert lines == [{"level": "error", "event": "tempfail", "queue_id": "4Xy", "cause": cause}]

    def test_fault_at_rcpt(
        self, session: Session, lines: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fault of ours at RCPT puts the message off at its end; its text, which may quote, is not told."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError("canary")

        monkeypatch.setattr(Passing, "check_recipient", broken)
        assert session.envrcpt_bytes(b"<b@p.test>") == Milter.CONTINUE
        session.eoh()

        assert session.eom() == Milter.TEMPFAIL
        assert [line["event"] for line in lines] == ["tempfail"]
        assert session.counted == ["internal"]
        assert "ZeroDivisionError at " in str(lines[0]["cause"])
        assert "canary" not in str(lines)

    def test_refused_recipient(self, session: Session, lines: list[dict[str, object]]) -> None:
        """A recipient that is refused is told once, in printable form."""
        assert session.envrcpt_bytes(b"<@route\xff.test:b@p.test>") == Milter.REJECT

        assert [(line["event"], line["queue_id"]) for line in lines] == [("a recipient was refused", "4Xy")]
        assert lines[0]["recipient"] == "<@route\\xff.test:b@p.test>"
