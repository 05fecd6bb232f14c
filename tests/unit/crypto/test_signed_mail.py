"""The shape of signed mail: what may stand around the signed part."""

import pytest

from gatepost.crypto.signature import SignatureError
from gatepost.crypto.signed_mail import signed_mail
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field

_FIELDS = (
    Field(
        b"Content-Type", b' multipart/signed; protocol="application/pgp-signature"; micalg=pgp-sha256; boundary=b'
    ),
)
_PARTS = (
    b"--b\r\nContent-Type: text/plain\r\n\r\nsigned\r\n"
    b"--b\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\r\n",
        b"This is an S/MIME signed message\r\n\r\n",
        b"This is an OpenPGP/MIME signed message (RFC 4880 and 3156)\r\n",
        b"This is a cryptographically signed message in MIME format.\r\n\r\n",
        b"This is a multi-part message in MIME format.\r\n\r\n",
    ],
)
def test_notes_of_mail_programs(note: bytes) -> None:
    """A note for those who know no MIME may stand before the parts."""
    found = signed_mail(_FIELDS, MemoryBody(note + _PARTS))

    assert found is not None
    assert found.content == b"Content-Type: text/plain\r\n\r\nsigned"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Pay at once.\r\n", b""),
        (b"This is an S/MIME signed message. Pay at once.\r\n", b""),
        (b"This is a multi-part message in MIME format\r\nPay.\r\n", b""),
        (b"", b"Pay at once.\r\n"),
    ],
)
def test_nothing_around(before: bytes, after: bytes) -> None:
    """Any other text around the parts could be shown as if it were signed."""
    with pytest.raises(SignatureError, match="alone"):
        signed_mail(_FIELDS, MemoryBody(before + _PARTS + after))
