"""What the adapter answers to each step."""

from collections.abc import Callable
from pathlib import Path

import Milter
import pytest

from gatepost.errors import StorageError
from gatepost.gateway.budget import Budget
from gatepost.gateway.metrics import NoMetrics
from gatepost.gateway.survey import Survey
from gatepost.gateway.verdict import Accept, Awaited, Discard, Verdict
from gatepost.message.body import Spool
from gatepost.message.edit import Append, Form
from gatepost.mta import adapter
from gatepost.mta.adapter import Session
from gatepost.mta.conversation import WAIT
from gatepost.mta.sessions import Sessions
from gatepost.mta.waits import Done

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


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []

    class Log:
        def __getattr__(self, level: str) -> object:
            return lambda event, **names: lines.append({"level": level, "event": event, **names})

    monkeypatch.setattr(adapter, "logger", Log())
    return lines


class TestFaults:
    """Whatever fails in a step: a tempfail at the end, one line in the log, no traceback."""

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


class Writing:
    """Lets everything through, changed, once its rows are written; what goes wrong may be said."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.asked = 0

    def check_recipient(self, *_: object) -> None:
        pass

    def survey(self, *given: object) -> Survey:
        return Passing().survey(*given)

    def process(self, *_: object) -> Awaited:
        return Awaited(self.begin, self.conclude)

    def begin(self, done: Done) -> None:
        done(None)

    def conclude(self) -> Verdict:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return Accept(Form((Append(b"X-Done", b" yes"),)))


class Context:
    """Stands for the conversation: keeps what is expected, and what is edited."""

    def __init__(self) -> None:
        self.begun: list[Callable[[Done], None]] = []
        self.seconds = 0.0
        self.fault: Exception | None = None
        self.said: list[tuple[object, ...]] = []

    def setpriv(self, _: object) -> None:
        pass

    def getsymval(self, name: str) -> str | None:
        return "4Xy" if name == "i" else None

    def setreply(self, code: str, *_: str) -> None:
        self.said.append(("reply", code))

    def addheader(self, name: str, value: str, _: int) -> None:
        self.said.append((name, value))

    def aside(self) -> None:
        self.said.append(("aside",))

    def expect(self, begin: Callable[[Done], None], seconds: float) -> None:
        if self.fault is not None:
            raise self.fault
        self.begun.append(begin)
        self.seconds = seconds


class TestWaiting:
    """A verdict that has to wait for rows: nothing is edited or answered before they are there."""

    @pytest.fixture
    def mail(self) -> Writing:
        return Writing()

    @pytest.fixture
    def sessions(self) -> Sessions:
        return Sessions(1)

    @pytest.fixture
    def session(self, tmp_path: Path, mail: Writing, sessions: Sessions) -> Session:
        session = Session(
            mail=mail, sessions=sessions, metrics=NoMetrics(), spool_directory=tmp_path, max_seconds=5
        )
        session._setctx(Context())
        session.negotiate([ALL_ACTIONS, ALL_STEPS, 0, 0])
        session.envfrom_bytes(b"<a@hosp.test>")
        session.envrcpt_bytes(b"<b@p.test>")
        session.eoh()
        return session

    def test_the_verdict_comes_with_the_rows(self, session: Session, mail: Writing, sessions: Sessions) -> None:
        """What is awaited is begun, within the message's time; then it is edited and answered, once."""
        assert session.eom() == WAIT
        assert session._ctx.begun == [mail.begin]
        assert 0 < session._ctx.seconds <= 5
        assert (session._ctx.said, mail.asked, sessions.busy) == ([], 0, 1)

        assert session.conclude(None) == Milter.ACCEPT
        assert session._ctx.said == [("X-Done", " yes")]
        assert (mail.asked, sessions.busy) == (1, 0)

    def test_others_go_on_while_a_message_waits(
        self, session: Session, mail: Writing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the gateway waits for makes room for the other conversations."""

        def waits(_transaction: object, _survey: object, budget: Budget) -> Verdict:
            budget.wait()
            return Discard()

        monkeypatch.setattr(mail, "process", waits)

        assert session.eom() == Milter.DISCARD
        assert session._ctx.said == [("aside",)]

    def test_rows_that_are_not_written(
        self, session: Session, mail: Writing, sessions: Sessions, lines: list[dict[str, object]]
    ) -> None:
        """Where the rows could not be written the message is put off: the verdict is not even asked for."""
        session.eom()

        assert session.conclude(StorageError("the disk is full")) == Milter.TEMPFAIL
        assert session._ctx.said == [("reply", "451")]
        assert (mail.asked, sessions.busy) == (0, 0)
        assert lines == [{"level": "error", "event": "tempfail", "queue_id": "4Xy", "cause": "the disk is full"}]

    def test_rows_that_cannot_be_begun(
        self, session: Session, mail: Writing, sessions: Sessions, lines: list[dict[str, object]]
    ) -> None:
        """Where the writer takes no rows the message is put off at once."""
        session._ctx.fault = StorageError("the writer is closed")

        assert session.eom() == Milter.TEMPFAIL
        assert (session._ctx.said, mail.asked, sessions.busy) == ([("reply", "451")], 0, 0)
        assert [line["cause"] for line in lines] == ["the writer is closed"]

    def test_a_verdict_that_fails(
        self, session: Session, mail: Writing, sessions: Sessions, lines: list[dict[str, object]]
    ) -> None:
        """A fault after the wait puts the message off as any other does, and its text is not told."""
        mail.fault = ZeroDivisionError("canary")
        session.eom()

        assert session.conclude(None) == Milter.TEMPFAIL
        assert (session._ctx.said, sessions.busy) == ([("reply", "451")], 0)
        assert [line["queue_id"] for line in lines] == ["4Xy"]
        assert "canary" not in str(lines)

    def test_a_log_that_is_gone(
        self, session: Session, mail: Writing, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where not even the fault can be told, the message is over all the same, and nothing was accepted."""

        def gone(*_: object, **__: object) -> None:
            raise BrokenPipeError

        monkeypatch.setattr(adapter.logger, "error", gone)
        mail.fault = ZeroDivisionError("canary")
        session.eom()
        with pytest.raises(BrokenPipeError):
            session.conclude(None)

        assert (session._ctx.said, sessions.busy) == ([], 0)

    @pytest.mark.parametrize("end", ["close", "abort"])
    def test_a_client_that_is_gone(self, session: Session, mail: Writing, sessions: Sessions, end: str) -> None:
        """Who hangs up while it waits holds up no stop of the milter, and is not counted twice."""
        session.eom()
        getattr(session, end)()

        assert sessions.drain(0) == 0
        session.close()
        assert (sessions.busy, mail.asked) == (0, 0)

    def test_the_next_message(self, session: Session, mail: Writing, sessions: Sessions) -> None:
        """After a message that waited the connection takes another one; nothing of the first is left."""
        session.eom()
        session.conclude(None)
        session.envfrom_bytes(b"<a@hosp.test>")
        session.eoh()

        assert session.eom() == WAIT
        assert sessions.busy == 1
        assert session.conclude(None) == Milter.ACCEPT
        assert mail.asked == 2

    def test_a_verdict_is_given_once(
        self, session: Session, mail: Writing, lines: list[dict[str, object]]
    ) -> None:
        """Where no verdict is awaited, or no longer, none is given: that is a tempfail which says so."""
        session.eom()
        session.conclude(None)

        assert session.conclude(None) == Milter.TEMPFAIL
        assert mail.asked == 1
        assert ["RuntimeError" in str(line["cause"]) for line in lines] == [True]
