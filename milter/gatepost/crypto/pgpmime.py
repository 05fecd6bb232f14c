"""
PGP/MIME: the shape of an encrypted message (RFC 3156), built and opened byte for byte.

What is encrypted is the message's own content: its Content-* fields as received, a blank line, its body.
All other fields stay outside, where mail servers and filters read them.
"""

import secrets
from collections.abc import Iterable, Iterator

from gatepost.message.field import Field

_CONTENT = b"content-"
_DEFAULT = Field(b"Content-Type", b" text/plain; charset=us-ascii")  # RFC 2045 section 5.2

_PREAMBLE = b"This is an OpenPGP/MIME encrypted message (RFC 3156)."
_VERSION_PART = b"""
Content-Type: application/pgp-encrypted
Content-Description: PGP/MIME version identification

Version: 1
""".replace(b"\n", b"\r\n")
_MESSAGE_PART = b"""
Content-Type: application/octet-stream; name="encrypted.asc"
Content-Description: OpenPGP encrypted message
Content-Disposition: inline; filename="encrypted.asc"

""".replace(b"\n", b"\r\n")


def is_content(field: Field) -> bool:
    """Tell whether the field describes the body, and so travels inside (RFC 2045 section 9)."""
    return field.key.startswith(_CONTENT)


def plaintext_of(fields: Iterable[Field], body: Iterable[bytes]) -> Iterator[bytes]:
    """
    Give what is to be encrypted, in pieces: the Content-* fields as received, a blank line, the body.

    A message without Content-Type gets the one that RFC 2045 gives it by default, so that it reads the same.
    """
    content = [field for field in fields if is_content(field)]
    if not any(field.key == b"content-type" for field in content):
        content.append(_DEFAULT)
    yield b"".join([field.wire() for field in content]) + b"\r\n"
    yield from body


def enclose(armored: bytes) -> tuple[bytes, bytes]:
    """
    Build the encrypted message around ASCII armor: the value of Content-Type (leading space, no line end) and
    the body with CRLF line ends. RFC 3156 section 4.
    """
    boundary = b"gatepost-" + secrets.token_hex(16).encode()
    content_type = b' multipart/encrypted; protocol="application/pgp-encrypted";\n boundary="' + boundary + b'"'
    armor = armored.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    mark = b"\r\n--" + boundary
    return content_type, b"".join((_PREAMBLE, mark, _VERSION_PART, mark, _MESSAGE_PART, armor, mark, b"--\r\n"))
