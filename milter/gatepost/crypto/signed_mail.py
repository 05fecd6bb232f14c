"""
Signed mail: the shape of a signed entity, S/MIME or PGP/MIME, taken apart byte for byte.

Only the outermost entity is looked at. `multipart/signed` (RFC 1847) has exactly two parts and nothing that a
reader might see around them, so that what was signed is all that is shown; the label of an opaque one is not
believed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gatepost.crypto import cms, packets, pgpmime, signed_data
from gatepost.crypto.pgpmime import CMS_TYPES, MAX_CIPHERTEXT
from gatepost.crypto.signature import SignatureError
from gatepost.message import mime
from gatepost.message.body import Body
from gatepost.message.field import Field

_MULTIPART = b"multipart/signed"
_CMS_SIGNATURES = frozenset({b"application/pkcs7-signature", b"application/x-pkcs7-signature"})
_PGP_SIGNATURES = frozenset({b"application/pgp-signature"})
_AS_IT_STANDS = frozenset({b"7bit", b"8bit", b"binary"})
_MAX_SIGNATURE = 1 << 20  # octets of a detached signature, certificates included
_HEAD, _LETTERS = 4096, 64  # octets looked at first, letters of base64 among them
_PARTS = 2
# What mail programs write there for those who know no MIME; others might show any other text as signed
_NOTE = re.compile(
    rb"\s*(?:This is an? (?:(?:cryptographically|digitally|S/MIME|OpenPGP/MIME) signed|multi-?part) message"
    rb"(?: in MIME format)?(?: \(RFC \d{4}(?: and \d{4})?\))?\.?)?\s*"
)


@dataclass(frozen=True, slots=True)
class SignedMail:
    """
    A signed entity: how it was signed ("smime" or "pgp"), the signature, and the entity that it is about.

    `content` is None in an opaque one, where it stands inside the signature.
    """

    method: str
    signature: bytes
    content: bytes | None


def method_of(fields: Iterable[Field]) -> str:
    """Tell from the header alone how the entity may be signed, "smime" or "pgp"; empty if it is not."""
    fields = tuple(fields)
    media = pgpmime.media_type(fields)
    if media in CMS_TYPES:
        return "smime"
    kind = mime.content_type(fields) if media == _MULTIPART else None
    protocol = kind.parameters.get(b"protocol", b"").strip().lower() if kind else b""
    if protocol in _CMS_SIGNATURES:
        return "smime"
    return "pgp" if protocol in _PGP_SIGNATURES else ""


def signed_mail(fields: Iterable[Field], body: Body) -> SignedMail | None:
    """
    Take a signed entity apart; None if it is none.

    Raises SignatureError where it says that it is signed, and what is signed cannot be told for certain.
    """
    fields = tuple(fields)
    method = method_of(fields)
    if not method:
        return None
    opaque = pgpmime.media_type(fields) in CMS_TYPES
    if opaque and not _may_be_opaque(fields, body):
        return None
    if body.size > MAX_CIPHERTEXT:
        raise SignatureError("the message is larger than what is verified")
    if opaque:
        data = pgpmime.decoded(fields, body.read())
        return SignedMail(method, data, None) if data is not None and signed_data.is_signed(data) else None
    return _detached(fields, body, method)


def _may_be_opaque(fields: tuple[Field, ...], body: Body) -> bool:
    """Tell from the beginning whether it is worth to read all: most of what bears this label is encrypted."""
    head = b""
    for piece in body.chunks():
        head += piece
        if len(head) >= _HEAD:
            break
    encoding = mime.transfer_encoding(fields)
    if encoding != b"base64":
        return encoding not in _AS_IT_STANDS or cms.begins_signed(head)
    letters = head[:_HEAD].translate(None, b" \t\r\n")[:_LETTERS]
    return cms.begins_signed(packets.from_base64(letters[: len(letters) & ~3]) or b"")


def _detached(fields: tuple[Field, ...], body: Body, method: str) -> SignedMail:
    kind = mime.content_type(fields)
    boundary = kind.parameters.get(b"boundary", b"") if kind else b""
    found = mime.split(body.read(), boundary, _PARTS)
    if (
        found is None
        or len(found.parts) != _PARTS
        or not _NOTE.fullmatch(found.preamble)
        or found.epilogue.strip()
        or mime.transfer_encoding(fields) not in _AS_IT_STANDS
    ):
        raise SignatureError("the message is not made of the signed part and its signature alone")
    content, second = found.parts
    entity = mime.split_entity(second) if len(second) <= _MAX_SIGNATURE else None
    wanted = _CMS_SIGNATURES if method == "smime" else _PGP_SIGNATURES
    if entity is None or pgpmime.media_type(entity[0]) not in wanted or mime.split_entity(content) is None:
        raise SignatureError("the signed part or its signature is malformed")
    signature = pgpmime.decoded(*entity)
    if signature is None:
        raise SignatureError("the signature is malformed")
    return SignedMail(method, signature, content)
