"""What re-injection puts on the wire, and what it knows when a listener fails."""

import smtplib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import DeliveryError
from gatepost.gateway.budget import Budget
from gatepost.gateway.submission import Submission
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Recipient
from gatepost.mta.reinjection import Listener, Reinjection, _stuffed


def unstuffed(wire: bytes) -> bytes:
    """Read DATA as a server does (RFC 5321 section 4.5.2) that takes a bare LF for a line end as well."""
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    inner = wire[: -len(b".\r\n")]
    assert not any(line.rstrip(b"\r") == b"." for line in inner.split(b"\n"))
    return (b"\n" + inner).replace(b"\n..", b"\n.")[1:]


@given(st.lists(st.text(alphabet=".\r\nab").map(str.encode)))
def test_content_arrives_whole_and_never_ends_the_message(chunks: list[bytes]) -> None:
    """Wherever chunks are cut, dots at the beginning of lines are doubled and nothing is lost."""
    content = b"".join(chunks)

    arrived = unstuffed(b"".join(_stuffed(iter(chunks))))

    assert arrived == (content if content.endswith(b"\r\n") else content + b"\r\n")


class Line:
    """A connection whose n-th reply is another; `None` cuts it, also what is sent after it."""

    sock = None

    def __init__(self, number: int, reply: tuple[int, bytes] | None, offers: str = "") -> None:
        self.offers = offers
        self._replies: list[tuple[int, bytes] | None] = [(250, b"ok"), (250, b"ok"), (354, b"go on"), (250, b"ok")]
        self._replies[number] = reply
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def getreply(self) -> tuple[int, bytes]:
        reply = self._replies.pop(0)
        if reply is None:
            raise smtplib.SMTPServerDisconnected("gone")
        return reply

    def has_extn(self, name: str) -> bool:
        return name in self.offers

    def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.parametrize(
    ("number", "reply", "uncertain"),
    [
        (0, None, False),
        (1, (550, b"no"), False),
        (2, None, False),
        (3, (451, b"later"), False),
        (3, (550, b"no"), False),
        (3, None, True),
        (3, (-1, b"garbled"), True),
    ],
)
def test_what_is_known_of_a_copy_that_failed(
    monkeypatch: pytest.MonkeyPatch, number: int, reply: tuple[int, bytes] | None, uncertain: bool
) -> None:
    """Until the final dot, and where it was answered with a refusal, the copy surely was not taken (RFC 1047)."""
    with pytest.raises(DeliveryError) as raised:
        submit(monkeypatch, Line(number, reply))

    assert uncertain is raised.value.uncertain


def submit(monkeypatch: pytest.MonkeyPatch, line: Line, *parameters: str) -> str:
    """Submit a copy over this connection."""
    listener = Listener("127.0.0.1", 1)
    reinjection = Reinjection(
        plain=listener, tls=listener, hostname="gw", client_certificate=Path(), listener_certificate=Path()
    )
    monkeypatch.setattr(reinjection, "_connection", lambda *_: line)
    submission = Submission(
        parse(b"<a@b.test>"),
        parameters,
        (Recipient(parse(b"<c@d.test>")),),
        (Field(b"Subject", b" x"),),
        MemoryBody(b"x\r\n"),
    )
    return reinjection.submit(submission, Budget(10, lambda: None))


@pytest.mark.parametrize("word", ["REQUIRETLS", "requiretls"])
def test_requiretls_goes_only_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """A listener that does not offer REQUIRETLS would send the copy on without: it gets nothing, and says why."""
    line = Line(0, (250, b"ok"))

    with pytest.raises(DeliveryError, match="asked for REQUIRETLS, which the listener does not offer") as raised:
        submit(monkeypatch, line, "BODY=8BITMIME", word)

    assert (line.sent, raised.value.uncertain) == (b"", False)


def test_requiretls_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that offers REQUIRETLS is asked for it (RFC 8689 section 4.2.1)."""
    line = Line(3, (250, b"queued as 4X"), offers="requiretls")

    assert submit(monkeypatch, line, "REQUIRETLS") == "4X"
    assert b"MAIL FROM:<a@b.test> REQUIRETLS\r\n" in line.sent
