"""A conversation in the milter protocol: what a session is told, and what the mail server is told."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import Milter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.mta import conversation
from gatepost.mta.conversation import WAIT, Conversation
from gatepost.mta.waits import Done

NEGOTIATION = (b"O", struct.pack(">III", 6, 0x1FF, 0x1FFFFF))
MESSAGE = (
    NEGOTIATION,
    (b"D", b"Cj\0mx.test\0{daemon_name}\0inside\0"),
    (b"C", b"client.test\0" + b"4" + struct.pack(">H", 25) + b"192.0.2.1\0"),
    (b"D", b"M{auth_authen}\0ann\0"),
    (b"M", b"<ann@hosp.test>\0SIZE=10\0"),
    (b"R", b"<bob@p.test>\0"),
    (b"D", b"Li\x004Xy\0"),
    (b"L", b"Subject\0 x\0"),
    (b"D", b"Ni\x004Xy\0"),
    (b"N", b""),
    (b"B", b"hello\r\n"),
    (b"E", b""),
)


class Session(Milter.Base):  # type: ignore[misc] # pymilter has no types
    """Notes what it is told; does at the end of the message what the test wants."""

    def __init__(self, at_end: Callable[["Session"], int] = lambda _: int(Milter.ACCEPT)) -> None:
        self.told: list[object] = []
        self._at_end = at_end

    def negotiate(self, options: list[int]) -> int:
        options[2] = options[3] = 0
        return int(Milter.CONTINUE)

    def connect(self, name: str, family: object, peer: object) -> int:
        self.told.append(("connect", name, family, peer))
        return int(Milter.NOREPLY)

    def envfrom_bytes(self, *words: bytes) -> int:
        self.told.append(("mail", *words, self.getsymval("{auth_authen}"), self.getsymval("i")))
        return int(Milter.NOREPLY)

    def envrcpt_bytes(self, *words: bytes) -> int:
        self.told.append(("rcpt", *words))
        return int(Milter.CONTINUE)

    def header_bytes(self, name: str, value: bytes) -> int:
        self.told.append(("header", name, value))
        return int(Milter.NOREPLY)

    def eoh(self) -> int:
        self.told.append(("eoh", self.getsymval("i"), self.getsymval("{daemon_name}")))
        return int(Milter.NOREPLY)

    def body(self, piece: bytes) -> int:
        self.told.append(("body", piece))
        return int(Milter.SKIP)

    def eom(self) -> int:
        self.told.append("eom")
        return self._at_end(self)

    def abort(self) -> int:
        self.told.append("abort")
        return int(Milter.CONTINUE)

    def close(self) -> int:
        self.told.append("close")
        return int(Milter.CONTINUE)


def packed(*packets: tuple[bytes, bytes]) -> bytes:
    return b"".join(struct.pack(">I", 1 + len(data)) + letter + data for letter, data in packets)


class NoLead:
    """Serves nobody; notes what is expected."""

    def __init__(self) -> None:
        self.expected: list[tuple[Conversation, object, float]] = []

    def expect(self, served: Conversation, begin: Callable[[Done], None], seconds: float) -> None:
        self.expected.append((served, begin, seconds))


def held(session: Session, *pieces: bytes) -> list[tuple[bytes, bytes]]:
    """Let a mail server send these pieces and hang up, or say good-bye; gives the packets that it was sent."""
    ours, theirs = socket.socketpair()
    with theirs:
        conversation = Conversation(ours, session, NoLead())
        try:
            for piece in pieces:
                theirs.sendall(piece)
                assert conversation.serve() is not piece.endswith(packed((b"Q", b"")))
            theirs.shutdown(socket.SHUT_WR)
            assert not conversation.serve()
        finally:
            conversation.close()
        return list(unpacked(b"".join(iter(lambda: theirs.recv(1 << 16), b""))))


def unpacked(said: bytes) -> Iterator[tuple[bytes, bytes]]:
    while said:
        (size,) = struct.unpack_from(">I", said)
        yield said[4:5], said[5 : 4 + size]
        said = said[4 + size :]


def answered(session: Session, *packets: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Give what was said after the negotiation."""
    return held(session, packed(*packets))[1:]


class TestWhatIsTold:
    def test_one_message(self) -> None:
        """Every step comes as it was given, with the macros of its step and of those before."""
        session = Session()
        said = answered(session, *MESSAGE)

        assert session.told == [
            ("connect", "client.test", b"4", ("192.0.2.1", 25)),
            ("mail", b"<ann@hosp.test>", b"SIZE=10", "ann", None),
            ("rcpt", b"<bob@p.test>"),
            ("header", "Subject", b" x"),
            ("eoh", "4Xy", "inside"),
            ("body", b"hello\r\n"),
            "eom",
            "close",
        ]
        assert said == [(b"c", b""), (b"s", b""), (b"a", b"")]

    @given(st.lists(st.integers(1, 300), max_size=20))
    def test_in_any_pieces(self, cuts: list[int]) -> None:
        """It does not matter in which pieces the packets come."""
        whole, other = Session(), Session()
        data = packed(*MESSAGE, *MESSAGE[3:])
        places = sorted({min(cut, len(data)) for cut in cuts})
        pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]

        assert held(other, *filter(None, pieces)) == held(whole, data)
        assert other.told == whole.told

    def test_macros_of_a_message_end_with_it(self) -> None:
        """A message that comes without its macros does not get those of the one before; the client's stay."""
        session = Session()
        answered(session, *MESSAGE, MESSAGE[4], (b"N", b""), (b"A", b""), *MESSAGE[3:5])

        assert [one for one in session.told if one[0] in {"mail", "eoh"}][2:] == [
            ("mail", b"<ann@hosp.test>", b"SIZE=10", None, None),
            ("eoh", None, "inside"),
            ("mail", b"<ann@hosp.test>", b"SIZE=10", "ann", None),
        ]

    @pytest.mark.parametrize(
        ("data", "peer"),
        [
            (b"6" + struct.pack(">H", 25) + b"IPv6:2001:db8::1\0", ("2001:db8::1", 25)),
            (b"L\0\0/run/x\0", None),
            (b"U", None),
        ],
    )
    def test_the_client(self, data: bytes, peer: object) -> None:
        """An address stands without the protocol's prefix; a client without one has none."""
        session = Session()
        answered(session, NEGOTIATION, (b"C", b"h\0" + data))

        assert session.told[0] == ("connect", "h", data[:1], peer)

    def test_an_end_that_comes_with_the_last_message(self) -> None:
        """What was answered goes out though the mail server has said good-bye in the same breath."""
        assert answered(Session(), NEGOTIATION, (b"E", b""), (b"Q", b"")) == [(b"a", b"")]

    def test_body_that_comes_with_the_end(self) -> None:
        """The last piece of the body may come with the end of the message."""
        session = Session()
        answered(session, NEGOTIATION, (b"E", b"rest"))

        assert session.told == [("body", b"rest"), "eom", "close"]


class TestWhatIsSaid:
    def test_edits(self) -> None:
        """Edits come in their order, before the verdict."""

        def edit(session: Session) -> int:
            session._actions = 0x1FF
            session.addheader("A", " 1")
            session.addheader("B", " 2", 1)
            session.chgheader("C", 2, " ü")
            session.chgheader("D", 1, None)
            session.delrcpt("<bob@p.test>")
            session.chgfrom("<ann@hosp.test>", "RET=HDRS")
            session.replacebody(b"new\0body")
            return int(Milter.ACCEPT)

        assert answered(Session(edit), NEGOTIATION, (b"E", b"")) == [
            (b"h", b"A\0 1\0"),
            (b"i", b"\0\0\0\1B\0 2\0"),
            (b"m", b"\0\0\0\2C\0 " + "ü".encode() + b"\0"),
            (b"m", b"\0\0\0\1D\0\0"),
            (b"-", b"<bob@p.test>\0"),
            (b"e", b"<ann@hosp.test>\0RET=HDRS\0"),
            (b"b", b"new\0body"),
            (b"a", b""),
        ]

    @pytest.mark.parametrize(
        ("code", "verdict", "said"),
        [
            ("550", Milter.REJECT, (b"y", b"550-5.7.1 one\r\n550 5.7.1 two\0")),
            ("451", Milter.TEMPFAIL, (b"y", b"451-5.7.1 one\r\n451 5.7.1 two\0")),
            ("451", Milter.REJECT, (b"r", b"")),
            ("550", Milter.ACCEPT, (b"a", b"")),
        ],
    )
    def test_a_reply_goes_with_its_verdict(self, code: str, verdict: int, said: tuple[bytes, bytes]) -> None:
        """A reply of our own is said only with the verdict that it fits, and once."""

        def end(session: Session) -> int:
            if session.told.count("eom") == 1:
                session.setreply(code, "5.7.1", "one", "two")
                return int(verdict)
            return int(Milter.REJECT)

        assert answered(Session(end), NEGOTIATION, (b"E", b""), (b"E", b"")) == [said, (b"r", b"")]

    def test_a_sign_of_life_goes_at_once(self) -> None:
        """While the end of a message is worked at, the mail server hears of it."""
        ours, theirs = socket.socketpair()
        heard = threading.Event()

        def end(session: Session) -> int:
            session.progress()
            return int(Milter.ACCEPT if heard.wait(30) else Milter.TEMPFAIL)

        with ours, theirs:
            theirs.sendall(packed((b"E", b"")))
            thread = threading.Thread(target=Conversation(ours, Session(end), NoLead()).serve)
            thread.start()
            assert theirs.recv(100) == packed((b"p", b""))
            heard.set()
            assert theirs.recv(100) == packed((b"a", b""))
            thread.join(30)

    def test_a_nul_never_ends_a_text(self) -> None:
        """What holds a NUL is not said: the mail server would read its rest as something else."""

        def end(session: Session) -> int:
            session._actions = 0x1FF
            session.addheader("A", "x\0y")
            return int(Milter.ACCEPT)

        with pytest.raises(ValueError, match="NUL"):
            answered(Session(end), NEGOTIATION, (b"E", b""))


class Waiting(Session):
    """Waits at the end of each message; then does what the test wants."""

    def __init__(self, at_conclude: Callable[[Session], int] = lambda _: int(Milter.ACCEPT)) -> None:
        super().__init__(self._ask)
        self._at_conclude = at_conclude

    def conclude(self, error: Exception | None) -> int:
        self.told.append(("conclude", error, self.getsymval("i"), self.getsymval("{auth_authen}")))
        return self._at_conclude(self)

    @staticmethod
    def _ask(session: Session) -> int:
        session._ctx.expect(begin, 7)
        return WAIT


def begin(_: Done) -> None:
    """Stand for what is awaited, which nobody begins here."""


class Line:
    """A conversation with a session that waits, and the mail server's end of it."""

    def __init__(self, session: Session) -> None:
        ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self.lead = NoLead()
        self.conversation = Conversation(ours, session, self.lead)

    def send(self, *packets: tuple[bytes, bytes]) -> bool:
        """Send packets, and have them served."""
        self._theirs.sendall(packed(*packets))
        return self.conversation.serve()

    def hang_up(self) -> bool:
        """Send no more, and have that served."""
        self._theirs.shutdown(socket.SHUT_WR)
        return self.conversation.serve()

    def said(self) -> list[tuple[bytes, bytes]]:
        """Give what has been said since."""
        try:
            return list(unpacked(self._theirs.recv(1 << 16)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Let both ends go."""
        self.conversation.close()
        self._theirs.close()


@pytest.fixture
def line() -> Iterator[Callable[[Session], Line]]:
    lines: list[Line] = []

    def begin_line(session: Session) -> Line:
        lines.append(Line(session))
        return lines[-1]

    yield begin_line
    for one in lines:
        one.close()


class TestWaiting:
    def test_nothing_is_answered_before(self, line: Callable[[Session], Line]) -> None:
        """The end of a message that waits is not answered; what came before it is, and at once."""
        session = Waiting()
        found = line(session)

        assert found.send(*MESSAGE)
        assert found.said()[1:] == [(b"c", b""), (b"s", b"")]
        assert found.lead.expected == [(found.conversation, begin, 7)]
        assert found.conversation.serve()  # nothing has come
        assert found.said() == []
        assert found.conversation.conclude(None)
        assert found.said() == [(b"a", b"")]

    @pytest.mark.parametrize("error", [None, OSError("no disk")])
    def test_with_its_own_macros(self, line: Callable[[Session], Line], error: Exception | None) -> None:
        """A message's macros hold until it is concluded, and no longer; the session hears how the wait ended."""
        session = Waiting()
        found = line(session)
        found.send(*MESSAGE)
        assert session.getsymval("i") == "4Xy"
        found.conversation.conclude(error)

        assert session.told[-1] == ("conclude", error, "4Xy", "ann")
        assert session.getsymval("i") is None
        assert session.getsymval("{daemon_name}") == "inside"

    @pytest.mark.parametrize("together", [True, False])
    def test_what_comes_meanwhile_is_taken_afterwards(
        self, line: Callable[[Session], Line], *, together: bool
    ) -> None:
        """What comes behind the end of a message that waits, at once or later, is looked at after its answer."""
        session = Waiting()
        found = line(session)
        if together:
            assert found.send(*MESSAGE, *MESSAGE[3:])
        else:
            assert found.send(*MESSAGE)
            assert found.send(*MESSAGE[3:8])
            assert found.send(*MESSAGE[8:])
        found.said()
        before = list(session.told)
        assert before[-1] == "eom"
        assert before.count("eom") == 1
        assert found.conversation.conclude(None)

        assert found.said() == [(b"a", b""), (b"c", b""), (b"s", b"")]
        assert session.told[len(before)] == ("conclude", None, "4Xy", "ann")
        assert session.told[len(before) + 1 :] == before[1:]
        assert found.conversation.conclude(None)
        assert found.said() == [(b"a", b"")]

    def test_the_end_that_came_meanwhile(self, line: Callable[[Session], Line]) -> None:
        """A mail server that has said goodbye behind its message is let go once that is concluded, not before."""
        session = Waiting()
        found = line(session)

        assert found.send(*MESSAGE, (b"Q", b""))
        assert not found.conversation.conclude(None)
        assert session.told[-1][0] == "conclude"

    def test_who_hangs_up_meanwhile(self, line: Callable[[Session], Line]) -> None:
        """Nobody waits for a mail server that is gone."""
        session = Waiting()
        found = line(session)
        found.send(*MESSAGE)

        assert not found.hang_up()
        assert "conclude" not in [one[0] for one in session.told]

    def test_who_does_not_wait(self, line: Callable[[Session], Line], monkeypatch: pytest.MonkeyPatch) -> None:
        """A mail server that goes on and on without its answer is not kept in memory: that ends it."""
        monkeypatch.setattr(conversation, "_MOST", 1000)
        found = line(Waiting())
        found.send(*MESSAGE)

        assert found.send((b"B", b"x" * 900))
        with pytest.raises(ValueError, match="goes on without the answer"):
            found.send((b"B", b"x" * 900))

    def test_edits_come_before_the_verdict(self, line: Callable[[Session], Line]) -> None:
        """What is edited after the wait goes out before the verdict, and both before any other answer."""

        def edit(session: Session) -> int:
            session._actions = 0x1FF
            session.addheader("A", " 1")
            session.replacebody(b"new")
            return int(Milter.ACCEPT)

        found = line(Waiting(edit))
        found.send(*MESSAGE, MESSAGE[5])
        found.said()
        found.conversation.conclude(None)

        assert found.said() == [(b"h", b"A\0 1\0"), (b"b", b"new"), (b"a", b""), (b"c", b"")]

    def test_a_reply_comes_with_its_verdict(self, line: Callable[[Session], Line]) -> None:
        """A refusal after the wait is said in the session's own words."""

        def refuse(session: Session) -> int:
            session.setreply("451", "4.7.1", "later")
            return int(Milter.TEMPFAIL)

        found = line(Waiting(refuse))
        found.send(*MESSAGE)
        found.said()
        found.conversation.conclude(OSError("no disk"))

        assert found.said() == [(b"y", b"451 4.7.1 later\0")]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 0),
        struct.pack(">I", (1 << 20) + 1) + b"L",
        packed((b"M", b"")),
        packed((b"M", b"no end")),
        packed((b"L", b"Name alone\0")),
        packed((b"L", b"Name\0value\0more\0")),
        packed((b"C", b"h\0" + b"4" + b"\0")),
        packed((b"O", b"short")),
    ],
)
def test_malformed_packets_end_it(data: bytes) -> None:
    """What cannot be read is not guessed at: the conversation ends, and what came behind is not looked at."""
    session = Session()
    with pytest.raises((ValueError, struct.error)):
        held(session, packed(NEGOTIATION) + data + packed((b"E", b"")))

    assert session.told == ["close"]


@pytest.mark.parametrize("name", ["CONTINUE", "REJECT", "DISCARD", "ACCEPT", "TEMPFAIL", "NOREPLY", "SKIP"])
def test_answers_are_pymilters(name: str) -> None:
    """What a session's callbacks give back is what pymilter calls so."""
    assert getattr(conversation, name) == getattr(Milter, name)
