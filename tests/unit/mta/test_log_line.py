"""Lines of Postfix's log: what tells of a delivery is read, and nothing that a stranger wrote is believed."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatepost.gateway.delivery import Delivery, Session, Status
from gatepost.mta.postfix import log_line
from gatepost.mta.postfix.log_line import LONGEST, Line, LogReader, line_of, printable

NOW = datetime(2026, 11, 23, 22, tzinfo=UTC).timestamp()
VERIFIED = Session("Verified", "TLSv1.3", "TLS_AES_256_GCM_SHA384")
UNTRUSTED = Session("Untrusted", "TLSv1.3", "TLS_AES_256_GCM_SHA384")
LOG = (Path(__file__).parent / "postfix-3.7.11.log").read_bytes()


def read(log: bytes, name: str = "postfix") -> list[Delivery]:
    return deliveries(log.splitlines(), LogReader(name))


def deliveries(lines: Iterable[bytes], reader: LogReader) -> list[Delivery]:
    found = (line for octets in lines if (line := line_of(octets, NOW)) is not None)
    return [delivery for line in found if (delivery := reader.read(line)) is not None]


def smtp(text: str, *, at: float = 100.0, pid: int = 7, name: str = "postfix/smtp") -> Line:
    return Line(at, name, pid, text)


def tls(relay: str = "mx.p.test[192.0.2.1]:25", peer: str = "Verified") -> str:
    return (
        f"{peer} TLS connection established to {relay}: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
    )


def sent(to: str = "b@p.test", *, queue_id: str = "4XyABCDEFG", relay: str = "mx.p.test[192.0.2.1]:25") -> str:
    return f"{queue_id}: to=<{to}>, relay={relay}, delay=3, delays=1/0/1/1, dsn=2.0.0, status=sent (250 ok)"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterable[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    log_line._local.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    log_line._local.cache_clear()


def test_golden() -> None:
    """A log as Postfix wrote it: each delivery with its session; what a server said stays what it said."""
    at = datetime(2026, 11, 23, 21, 30, tzinfo=UTC).timestamp()
    later = "host 127.0.0.1[127.0.0.1] said: 450 4.2.0 later?[31m please, status=sent (250 ok)"
    assert read(LOG) == [
        Delivery(
            at, "4jYJxh4My6zJ9v4", Status.DEFERRED, "b@tls.test", "", "127.0.0.1[127.0.0.1]:26001", 0.12, "4.2.0",
            f"{later} (in reply to RCPT TO command)", VERIFIED,
        ),
        Delivery(
            at, "4jYJxh5CrFzJ9wM", Status.SENT, "ann@pgp.test", "", "127.0.0.1[127.0.0.1]:25877", 0.06, "2.0.0",
            "250 2.0.0 kept", None,
        ),
        Delivery(
            at, "D072320C2A3", Status.DEFERRED, "c@wrong.test", "", "127.0.0.1[127.0.0.1]:31403", 0.05, "4.7.5",
            "Server certificate not verified", UNTRUSTED,
        ),
        Delivery(at + 8, "D072320C2A3", Status.EXPIRED),
        Delivery(at + 19 * 60 + 2, "3F61920CA43", Status.DELETED),
    ]  # fmt: skip


def test_only_the_one_postfix() -> None:
    """Another instance's queue IDs mean other mail."""
    assert read(LOG, name="postfix-out") == []
    assert read(LOG.replace(b" postfix/", b" postfix-out/"), name="postfix") == []
    assert len(read(LOG.replace(b" postfix/", b" postfix-out/"), name="postfix-out")) == 5


def test_mail_on_its_way_to_gatepost_is_no_delivery() -> None:
    """Behind alias expansion Postfix hands mail to itself first; that proves nothing."""
    assert LogReader("postfix").read(smtp(sent(), name="postfix/gatepost-behind/smtp")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nov  3 21:30:00", datetime(2026, 11, 3, 21, 30, tzinfo=UTC)),
        ("Dec 31 23:59:59", datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-11-23T21:30:00.250000+01:00", datetime(2026, 11, 23, 20, 30, 0, 250000, tzinfo=UTC)),
        ("2026-11-23T21:30:00Z", datetime(2026, 11, 23, 21, 30, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    """RFC 3339, and RFC 3164 whose year is the latest that is not to come."""
    line = line_of(f"{text} mail postfix/smtp[1]: {sent()}".encode(), NOW)
    assert line is not None
    assert line.at == expected.timestamp()


@pytest.mark.parametrize("text", ["Feb 30 21:30:00", "Nov 23 25:30:00", "2026-13-01T00:00:00Z", "Foo 23 21:30:00"])
def test_times_that_are_none(text: str) -> None:
    """A line whose time makes no sense is passed over."""
    assert line_of(f"{text} mail postfix/smtp[1]: {sent()}".encode(), NOW) is None


def test_bounds() -> None:
    """What is too long for a line of Postfix is none; NUL octets, as a cut file may begin with, do not matter."""
    head = b"Nov 23 21:30:00 mail postfix/smtp[1]: "
    assert line_of(head + sent().encode() + b"x" * LONGEST, NOW) is None
    assert line_of(b"\0" * 100 + head + sent().encode(), NOW) is not None


def test_what_was_said_is_cut() -> None:
    """However much a stranger says, little of it is kept."""
    delivery = LogReader("postfix").read(smtp(sent().replace("250 ok", "x" * 1000)))
    assert delivery is not None
    assert delivery.reply == "x" * 200


class TestAddresses:
    def test_original_recipient(self) -> None:
        """An address that was rewritten is known by both."""
        text = sent().replace("to=<b@p.test>", "to=<b@p.test>, orig_to=<alias@p.test>")
        delivery = LogReader("postfix").read(smtp(text))
        assert delivery is not None
        assert (delivery.recipient, delivery.original) == ("b@p.test", "alias@p.test")

    def test_quoted_local_part_cannot_pose_as_fields(self) -> None:
        """A recipient may hold whatever it likes: the fields begin behind it."""
        hostile = r'"x>, relay=evil.test[6.6.6.6]:25, delay=1, delays=0/0/0/0, dsn=2.0.0, status=sent (\""@p.test'
        delivery = LogReader("postfix").read(smtp(sent(hostile).replace("sent (250", "bounced (550")))
        assert delivery is not None
        assert delivery.recipient == hostile
        assert delivery.status is Status.BOUNCED

    def test_no_recipient(self) -> None:
        """A line without a recipient is not taken for one about everybody."""
        assert LogReader("postfix").read(smtp(sent(""))) is None

    def test_sender_cannot_pose_as_expiry(self) -> None:
        """Nothing in a sender's address makes a message expire."""
        text = '4XyABCDEFG: from=<"a>, status=expired, returned to sender"@x.test>, size=1, nrcpt=1 (queue active)'
        assert LogReader("postfix").read(smtp(text, name="postfix/qmgr")) is None

    def test_new_fields_do_not_matter(self) -> None:
        """Later Postfixes tell more between the fields that are known."""
        text = sent().replace(", delay=3", ", conn_use=2, tls=verified, delay=3")
        delivery = LogReader("postfix").read(smtp(text))
        assert delivery is not None
        assert (delivery.relay, delivery.delay) == ("mx.p.test[192.0.2.1]:25", 3.0)


class TestSessions:
    def read(self, *lines: Line) -> list[Session | None]:
        reader = LogReader("postfix")
        return [found.session for line in lines if (found := reader.read(line)) is not None]

    def test_all_recipients_of_a_delivery(self) -> None:
        """One session carries a message to many."""
        lines = [smtp(tls()), smtp(sent("b@p.test")), smtp(sent("c@p.test"))]
        assert self.read(*lines) == [VERIFIED, VERIFIED]

    def test_reused(self) -> None:
        """A session that another delivery had opened is told anew."""
        assert self.read(smtp(tls().replace("established", "reused")), smtp(sent())) == [VERIFIED]

    @pytest.mark.parametrize(
        "other",
        [
            smtp(sent("c@p.test", queue_id="4XyOTHERID"), at=101),
            smtp(sent(), at=101),
            smtp(sent("c@p.test"), at=110),
            smtp(sent("c@p.test", relay="mx2.p.test[192.0.2.2]:25")),
            smtp(sent("c@p.test", relay="none")),
            smtp(sent("c@p.test"), pid=8),
        ],
        ids=["other message", "again", "later connection", "other relay", "no relay", "other process"],
    )
    def test_never_for_another_connection(self, other: Line) -> None:
        """A delivery whose own session was not told has none, whoever had one before."""
        assert self.read(smtp(tls()), smtp(sent()), other) == [VERIFIED, None]

    def test_last_session_counts(self) -> None:
        """Where the first server failed, the second one's session is the delivery's."""
        second = "mx2.p.test[192.0.2.2]:25"
        lines = [smtp(tls()), smtp(tls(second, "Trusted")), smtp(sent(relay=second))]
        assert self.read(*lines) == [Session("Trusted", "TLSv1.3", "TLS_AES_256_GCM_SHA384")]

    def test_remembered(self) -> None:
        """A reader that takes over knows the sessions of the one before, and to which message they belong."""
        before = LogReader("postfix")
        before.read(smtp(tls()))
        before.read(smtp(sent()))
        before.read(smtp(tls(), pid=8))
        after = LogReader("postfix", before.remembered())
        found = [after.read(line) for line in (smtp(sent("c@p.test")), smtp(sent(queue_id="4XyOTHERID"), pid=8))]
        assert [one.session for one in found if one] == [VERIFIED, VERIFIED]

    def test_memory_is_bounded(self) -> None:
        """However many processes open sessions and deliver nothing, only so many are remembered."""
        reader = LogReader("postfix")
        for pid in range(5000):
            reader.read(smtp(tls(), pid=pid))
        assert len(reader.remembered()) <= 1000


_FRAGMENT = st.one_of(
    st.text(max_size=30),
    st.sampled_from([
        "to=<", ">, ", "orig_to=<", "relay=", "delay=", "delays=", "dsn=2.0.0", "status=sent (", "deferred (",
        "4XyABCDEFG: ", "from=<", "removed", ", status=expired, returned to sender", tls(), sent(), '"', "\\", "@",
    ]),
)  # fmt: skip


@given(st.lists(_FRAGMENT, max_size=15).map("".join), st.sampled_from(["smtp", "qmgr", "postsuper", "error", "x"]))
@example(sent(), "smtp")
def test_whatever_stands_there(text: str, program: str) -> None:
    """No line makes the reader fail, and whatever it gives is bounded and printable."""
    head = f"2026-11-23T21:30:00Z mail postfix/{program}[1]: "
    line = line_of((head + text).encode("utf-8", "surrogatepass"), NOW)
    delivery = None if line is None else LogReader("postfix").read(line)
    if delivery is not None:
        assert delivery.reply.isprintable()
        assert len(delivery.reply) <= 200
        assert delivery.relay.isprintable()


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    """Octets that are no line at all are passed over."""
    line = line_of(b" status=" + octets, NOW)
    assert line is None


@given(reply=st.text(max_size=400), status=st.sampled_from(["sent", "deferred", "bounced"]))
def test_only_the_status_field_counts(reply: str, status: str) -> None:
    """Whatever a remote server answers, the status is what Postfix made of it."""
    text = f"4XyABCDEFG: to=<b@p.test>, relay=none, delay=1, delays=1/0/0/0, dsn=4.0.0, status={status} ({reply})"
    delivery = LogReader("postfix").read(smtp(text))
    assert delivery is not None
    assert delivery.status == status
    assert delivery.reply == printable(reply)
