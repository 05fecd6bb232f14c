"""How the mail server's own entrance says that a message came."""

import pytest

from gatepost.message.field import Field
from gatepost.message.received import entered_by_tls


def received(protocol: bytes, hello: bytes = b"client.test") -> Field:
    return Field(
        b"Received",
        b" from " + hello + b" (unknown [192.0.2.1])\n\tby mail.hosp.test (Postfix) with " + protocol
        + b" id 4Qxyz12345\n\tfor <doc@hosp.test>; Mon, 23 Nov 2026 21:00:00 +0000 (UTC)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (b"ESMTPS", True),
        (b"ESMTPSA", True),
        (b"SMTPS", True),
        (b"UTF8SMTPS", True),
        (b"ESMTP", False),
        (b"SMTP", False),
        (b"ESMTPA", False),
        (b"UTF8SMTP", False),
        (b"LMTP", False),
    ],
)
def test_the_protocol_tells(protocol: bytes, *, expected: bool) -> None:
    """RFC 3848: an S stands for TLS."""
    assert entered_by_tls([received(protocol)]) is expected


def test_only_the_first_field_counts() -> None:
    """Those below it were written by others."""
    assert not entered_by_tls([received(b"ESMTP"), received(b"ESMTPS")])
    assert not entered_by_tls([Field(b"Subject", b" x")])


def test_what_the_client_says_of_itself_does_not_count() -> None:
    """A client may say anything in EHLO, but no line end."""
    assert not entered_by_tls([received(b"ESMTP", hello=b"x by y (z) with ESMTPS id 1")])
