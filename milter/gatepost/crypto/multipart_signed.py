"""
multipart/signed: the shape of a message with its detached signature (RFC 1847), for S/MIME (RFC 8551 section
3.5.3) and for PGP/MIME (RFC 3156 section 5), built byte for byte.

The signed entity is the message's own Content-* fields, a blank line and its body.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gatepost.crypto.own_signature import Signature
from gatepost.crypto.pgpmime import plaintext_of
from gatepost.message import base64_lines, mime
from gatepost.message.body import Body, Spool
from gatepost.message.field import Field

_SIGNED = frozenset({b"multipart/signed", b"multipart/encrypted"})
_CMS = frozenset({b"application/pkcs7-mime", b"application/x-pkcs7-mime"})


@dataclass(frozen=True, slots=True)
class _Kind:
    protocol: bytes
    preamble: bytes
    header: bytes


_KINDS = {
    "smime": _Kind(
        b"application/pkcs7-signature",
        b"This is an S/MIME signed message (RFC 8551).",
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="smime.p7s"\r\n'
        b"Content-Description: S/MIME signature\r\n",
    ),
    "openpgp": _Kind(
        b"application/pgp-signature",
        b"This is an OpenPGP/MIME signed message (RFC 3156).",
        b'Content-Type: application/pgp-signature; name="signature.asc"\r\n'
        b"Content-Description: OpenPGP signature\r\n"
        b'Content-Disposition: attachment; filename="signature.asc"\r\n',
    ),
}


def is_sealed(fields: Iterable[Field]) -> bool:
    """Tell whether a message calls itself signed or encrypted already: such a one is not signed again."""
    kind = mime.content_type(fields)
    return kind is not None and (kind.media in _SIGNED or kind.media in _CMS)


def entity(fields: Iterable[Field], body: Body, directory: Path | None = None) -> Body:
    """Give what is signed, as one body."""
    written = Spool(directory)
    for piece in plaintext_of(fields, body.chunks()):
        written.write(piece)
    return written


def enclose(
    signed: Body, signature: Signature, kind: str, directory: Path | None = None
) -> tuple[tuple[Field, ...], Body]:
    """
    Put an entity and its signature into one message; gives its Content-* fields and its body with CRLF line ends.

    A large one is spooled in `directory`. Raises OSError where the disk is full.
    """
    shape = _KINDS[kind]
    boundary = b"gatepost-" + secrets.token_hex(16).encode()
    mark = b"\r\n--" + boundary
    body = Spool(directory)
    body.write(shape.preamble + mark + b"\r\n")
    for piece in signed.chunks():
        body.write(piece)
    body.write(mark + b"\r\n" + shape.header + b"\r\n")
    if kind == "smime":
        for lines in base64_lines.encoded([signature.data]):
            body.write(lines)
    else:
        body.write(signature.data.replace(b"\r", b"").replace(b"\n", b"\r\n"))
    body.write(mark + b"--\r\n")
    content_type = (
        b" multipart/signed; protocol=" + b'"' + shape.protocol + b'"; micalg=' + signature.micalg.encode("ascii")
    )
    return (Field(b"Content-Type", content_type + b';\n boundary="' + boundary + b'"'),), body
