"""Notices: who gets one, what it says, and that it can neither loop nor flood."""

import quopri
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest

from gatepost.gateway import notice_text
from gatepost.gateway.notices import Notice, Notices, is_automatic
from gatepost.message.address import NULL_SENDER, Address, parse
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

ADMIN = parse(b"<admin@hosp.test>")
ALICE, BOB, CAROL = (parse(f"<{name}@x.test>".encode()) for name in ("alice", "bob", "carol"))
MESSAGE = Transaction(
    client=Client(),
    sender=ALICE,
    parameters=(),
    recipients=(Recipient(BOB), Recipient(CAROL)),
    fields=(Field(b"Message-ID", b" <1@x.test>"), Field(b"From", b" a@x.test")),
    body=MemoryBody(b"the body: Canary\r\n"),
    queue_id="4XYZ",
)


class Log:
    """Remembers in memory, as the database would."""

    def __init__(self) -> None:
        self.sent: dict[bytes, tuple[str, datetime]] = {}

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:
        recent = [one for one in self.sent.values() if one[0] == recipient and one[1] > at - timedelta(hours=1)]
        if digest in self.sent or len(recent) >= per_hour:
            return False
        self.sent[digest] = (recipient, at)
        return True

    def forget(self, digest: bytes) -> None:
        del self.sent[digest]


class Desk:
    """A writer of notices with its clock."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.notices = Notices(log=Log(), admin=ADMIN, hostname="gw.hosp.test", per_hour=3, clock=lambda: self.now)

    def held(self, message: Transaction = MESSAGE, *, inside: bool = True, subject: str = "Hello") -> Notice:
        return self.notices.held(
            message,
            subject=subject,
            held=[(BOB, "no usable key")],
            went=[CAROL],
            keep=timedelta(days=7),
            inside=inside,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def raw(notice: Notice) -> bytes:
    return b"".join(field.wire() for field in notice.fields) + b"\r\n" + notice.body.read()


def with_field(name: bytes, value: bytes) -> Transaction:
    return replace(MESSAGE, fields=(*MESSAGE.fields, Field(name, value)))


def test_sender_learns_who_got_it_and_who_not(desk: Desk) -> None:
    """The notice names the held recipients with the reason, those who got the message, and what to do."""
    notice = desk.held()
    assert notice.recipient == ALICE
    text = notice.body.read().decode()
    assert "bob@x.test: no usable key" in text
    assert "carol@x.test" in text
    assert "4XYZ" in text
    assert "7 days" in text


def test_it_reads_as_mail(desk: Desk) -> None:
    """The notice is well-formed, marked as automatic, and a reply to the message that it is about."""
    mail = message_from_bytes(raw(desk.held()), policy=policy.default)
    assert not mail.defects
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["To"] == "alice@x.test"
    assert mail["In-Reply-To"] == "<1@x.test>"
    assert "admin@hosp.test" in mail["From"]
    assert mail["Message-ID"].endswith("@gw.hosp.test>")
    assert raw(desk.held(replace(MESSAGE, queue_id="2", fields=()))).isascii()


def test_nothing_of_the_body(desk: Desk) -> None:
    """A notice quotes nothing of the message but its subject."""
    assert b"Canary" not in raw(desk.held())


def test_subject_adds_no_lines(desk: Desk) -> None:
    """A subject with line ends, escapes or other alphabets stays one line of readable text."""
    notice = desk.held(subject="Grüße\r\nHeld for:\x1b[31m\u202e 中文 \ud800")
    lines = quopri.decodestring(notice.body.read()).decode().splitlines()
    assert any(line.startswith("Subject: Grüße  Held for: [31m") for line in lines)
    assert raw(notice).isascii()


def test_message_id_adds_no_field(desk: Desk) -> None:
    """A Message-ID that is none is not repeated."""
    odd = replace(MESSAGE, fields=(Field(b"Message-ID", b" <a>\n Bcc: <eve@evil.test>"),))
    assert b"eve@evil" not in raw(desk.held(odd))


@pytest.mark.parametrize(
    "message",
    [
        replace(MESSAGE, sender=NULL_SENDER),
        *(
            replace(MESSAGE, sender=parse(f"<{local}@x.test>".encode()))
            for local in ("owner-list", "list-request", "noreply", "No-Reply", "MAILER-DAEMON", "x-bounces")
        ),
        with_field(b"List-Id", b" <l.x.test>"),
        with_field(b"list-unsubscribe", b" <mailto:x>"),
        with_field(b"Precedence", b" Bulk"),
        with_field(b"Precedence", b" list"),
        with_field(b"Auto-Submitted", b" auto-generated"),
        with_field(b"Auto-Submitted", b" no; x=y"),
    ],
)
def test_automatic_senders_get_none(desk: Desk, message: Transaction) -> None:
    """Null senders, lists and robots are never written to; the admin is told instead."""
    assert is_automatic(message)
    notice = desk.held(message)
    assert notice.recipient == ADMIN


@pytest.mark.parametrize("value", [b" no", b" No "])
def test_people_get_theirs(value: bytes) -> None:
    """A message that says it was written by a person is."""
    assert not is_automatic(with_field(b"Auto-Submitted", value))
    assert not is_automatic(replace(MESSAGE, sender=parse(b"<anowner-x@x.test>")))


def test_outsiders_get_none(desk: Desk) -> None:
    """A sender address from outside may be forged, so the admin is told."""
    notice = desk.held(inside=False)
    assert notice.recipient == ADMIN


def test_once_per_message(desk: Desk) -> None:
    """A message that comes a second time brings no second notice."""
    assert desk.notices.claim(desk.held())
    assert not desk.notices.claim(desk.held())


def test_a_notice_that_was_not_sent_may_go_later(desk: Desk) -> None:
    """What could not be sent is taken back, and does not count."""
    desk.notices.claim(desk.held())
    desk.notices.take_back(desk.held())
    assert desk.notices.claim(desk.held())


def test_at_most_so_many_an_hour(desk: Desk) -> None:
    """A recipient is not flooded; an hour later notices go again."""
    messages = [replace(MESSAGE, fields=(), queue_id=str(number)) for number in range(5)]
    assert [desk.notices.claim(desk.held(one)) for one in messages[:4]] == [True, True, True, False]
    desk.now += timedelta(hours=1)
    assert desk.notices.claim(desk.held(messages[4]))


def test_very_many_recipients(desk: Desk) -> None:
    """A notice about hundreds of recipients stays short."""
    many: list[tuple[Address, str]] = [(parse(f"<r{n}@x.test>".encode()), "x" * 999) for n in range(500)]
    notice = desk.notices.held(MESSAGE, subject="", held=many, went=[], keep=timedelta(days=7), inside=True)
    assert "and 400 more" in notice.body.read().decode()
    assert notice.body.size < 50_000


def test_a_reason_stands_whole_and_a_cut_is_seen() -> None:
    """Whoever is told why a copy is held reads every rung; only what is absurdly long is cut, visibly."""
    reason = "; ".join(f"rung {number}: no key" for number in range(20))

    assert reason == notice_text.one_line(reason, notice_text.MAX_REASON)
    assert notice_text.one_line("x" * 300) == "x" * 199 + "…"
