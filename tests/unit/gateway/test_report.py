"""Reports about protected messages."""

import pytest

from gatepost.gateway.report import cut, is_report, named_in
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Transaction

KIND = Field(b"Content-Type", b' multipart/report; report-type=delivery-status;\n boundary="b"')
STATUS = b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n"
MESSAGE = b"Message-ID: <1@hosp.test>\r\nSubject: results\r\n\r\ncanary in the body\r\n"
RETURNED = b"Content-Type: message/rfc822\r\n\r\n" + MESSAGE
TEXT = b"Content-Type: text/plain\r\n\r\nIt did not go.\r\n"


def report(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def transaction(sender: bytes = b"<>", kind: Field = KIND) -> Transaction:
    return Transaction(
        Client(), address.parse(sender), (), (), (kind,), MemoryBody(report(TEXT, STATUS, RETURNED))
    )


def test_a_returned_message_is_cut_to_its_header() -> None:
    """Text and status stay byte for byte; of the returned message only its header fields stay."""
    body = cut((KIND,), report(TEXT, STATUS, RETURNED))

    assert body is not None
    assert (
        report(
            TEXT,
            STATUS,
            b"Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@hosp.test>\r\nSubject: results\r\n",
        )
        == body.read()
    )


@pytest.mark.parametrize(
    "parts",
    [
        (TEXT + b"> quoted\r\n" * 1000, RETURNED),
        (b"\r\n" + b"> quoted\r\n" * 1000, RETURNED),
        (TEXT, b"Content-Type: application/pdf\r\n\r\nx\r\n"),
        (TEXT, b"Content-Type: text/html\r\n\r\ncanary\r\n"),
        (TEXT, RETURNED.replace(b"\r\n\r\nMessage", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nMessage")),
        (TEXT, b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n"),
        (TEXT, b"Content-Type: text/plain\r\nContent-Type: message/rfc822\r\n\r\ncanary\r\n"),
        (),
    ],
)
def test_what_is_not_known_is_not_let_through(parts: tuple[bytes, ...]) -> None:
    """A part that is no short text, status or returned message makes it impossible to cut."""
    assert cut((KIND,), report(*parts)) is None


def test_finds_message_ids_wherever_they_stand() -> None:
    """The Message-ID of the returned message is found, folded or not."""
    folded = RETURNED.replace(b"Message-ID: <1@hosp.test>", b"references:\r\n <0@x>\r\n <1@hosp.test>")

    assert b"<1@hosp.test>" in named_in(report(TEXT, RETURNED))[0].value
    assert b"<1@hosp.test>" in named_in(report(TEXT, folded))[0].value


@pytest.mark.parametrize(
    ("sender", "kind", "expected"),
    [
        (b"<>", KIND, True),
        (
            b"<>",
            Field(b"content-type", b" Multipart/Report; Report-Type=Disposition-Notification; boundary=b"),
            True,
        ),
        (b"<alice@hosp.test>", KIND, True),
        (b"<>", Field(b"Content-Type", b" multipart/report; report-type=feedback-report; boundary=b"), False),
        (b"<>", Field(b"Content-Type", b" text/plain"), False),
    ],
)
def test_reports_are_told_by_their_type(sender: bytes, kind: Field, expected: bool) -> None:
    """DSN and MDN are reports, with a sender or without; nothing else is."""
    assert expected is is_report(transaction(sender, kind))
