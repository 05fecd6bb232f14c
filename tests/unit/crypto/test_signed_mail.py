"""The shape of signed mail: what may stand around the signed part."""

import base64

import pytest

from gatepost.crypto.pgpmime import MAX_CIPHERTEXT
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


@pytest.mark.parametrize("encoding", [b"7bit", b"8bit", b"binary"])
@pytest.mark.parametrize("kind", [b"application/pkcs7-signature", b"application/x-pkcs7-signature"])
def test_smime(kind: bytes, encoding: bytes) -> None:
    """S/MIME's signature goes by its name of today and its old one; encodings that change nothing do no harm."""
    value = b' multipart/signed; protocol="' + kind + b'"; micalg=sha-256; boundary=b'
    fields = (Field(b"Content-Type", value), Field(b"Content-Transfer-Encoding", b" " + encoding))
    found = signed_mail(fields, MemoryBody(_PARTS.replace(b"application/pgp-signature", kind)))

    assert found is not None
    assert (found.method, found.signature) == ("smime", b"sig")


class Large(MemoryBody):
    """A body that says it is larger than it is."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._said = size

    @property
    def size(self) -> int:
        return self._said


def test_size() -> None:
    """What is larger than what is verified says so; the largest is verified."""
    assert signed_mail(_FIELDS, Large(_PARTS, MAX_CIPHERTEXT)) is not None
    with pytest.raises(SignatureError, match="larger"):
        signed_mail(_FIELDS, Large(_PARTS, MAX_CIPHERTEXT + 1))


def test_opaque_that_is_no_base64() -> None:
    """What begins like an opaque signature and cannot be decoded is none."""
    begun = base64.b64encode(bytes.fromhex("308006092a864886f70d010702a080") + bytes(60))
    fields = (Field(b"Content-Type", b" application/pkcs7-mime"), Field(b"Content-Transfer-Encoding", b" base64"))

    assert signed_mail(fields, MemoryBody(begun + b"\r\n!!!\r\n")) is None
