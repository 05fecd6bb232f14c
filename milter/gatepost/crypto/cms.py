"""
CMS from the outside: whether bytes are an enveloped message, its parts, and signed content, without any key.

The structure is read to its last octet, with definite and indefinite lengths, to a bounded depth and number of
elements: a label, or a few octets at the beginning, could stand before plain text.

RFC 5652 sections 5.1 (SignedData) and 6.1 (EnvelopedData), RFC 5083 section 2.1 (AuthEnvelopedData).
"""

import re
from dataclasses import dataclass
from mmap import mmap

from gatepost.crypto import ber
from gatepost.crypto.ber import Element, tags

DATA = bytes.fromhex("2a864886f70d010701")
SIGNED = bytes.fromhex("2a864886f70d010702")
ENVELOPED = bytes.fromhex("2a864886f70d010703")
AUTH_ENVELOPED = bytes.fromhex("2a864886f70d0109100117")

_BEGINS_SIGNED = re.compile(rb"\x30[\x00-\xff]{1,5}" + re.escape(b"\x06\x09" + SIGNED))
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_CONTENT, _CONTENT_IN_PIECES = 0x80, 0xA0  # [0], primitive and constructed
_ORIGINATOR, _EXPLICIT = 0xA0, 0xA0  # [0]
_ATTRIBUTES = 0xA1
_OCTETS_IN_PIECES = 0x24
_RECIPIENTS = frozenset({_SEQUENCE, 0xA1, 0xA2, 0xA3, 0xA4})  # RFC 5652 section 6.2
_ENDS = {  # what may come after the encrypted content, by OID: attributes [1], the MAC, attributes [2]
    ENVELOPED: frozenset({(), (0xA1,)}),
    AUTH_ENVELOPED: frozenset({(_OCTETS,), (_OCTETS, 0xA2), (0xA1, _OCTETS), (0xA1, _OCTETS, 0xA2)}),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    The parts of an enveloped message: RecipientInfos, the content's AlgorithmIdentifier, the content in pieces.

    AuthEnvelopedData has a `code`, and `attributes` in DER (RFC 5083 section 2.2) that are authenticated with the
    content; both are None or empty in EnvelopedData.
    """

    recipients: tuple[Element, ...]
    algorithm: Element
    content: tuple[memoryview, ...]
    code: bytes | None
    attributes: bytes


def is_enveloped(data: bytes) -> bool:
    """Tell whether the data is, to its last octet, one CMS message encrypted to at least one recipient."""
    return envelope(data) is not None


def envelope(data: bytes | mmap) -> Envelope | None:
    """Take an enveloped message apart; None where the data is, to its last octet, none."""
    kind, parts = content_info(data)
    return _envelope(parts, _ENDS.get(kind, frozenset()))


def begins_signed(data: bytes) -> bool:
    """Tell from the first octets whether this can be a signed message; what is behind them is not read."""
    return _BEGINS_SIGNED.match(data) is not None


def signed_content(data: bytes) -> bytes | None:
    """Give what stands in a signed message, whoever signed it; None where the data is none, or it is elsewhere."""
    kind, parts = content_info(data)
    if kind != SIGNED or tags(parts)[:3] != (_INTEGER, _SET, _SEQUENCE):
        return None
    info = parts[2].parts
    if tags(info) != (_OID, _EXPLICIT) or info[0].octets != DATA:
        return None
    content = octets_in_pieces(info[1])
    return None if content is None else b"".join(content)


def octets_in_pieces(holder: Element) -> tuple[memoryview, ...] | None:
    """Give the one OCTET STRING in an element, in its pieces; None where something else stands there."""
    if len(holder.parts) != 1:
        return None
    content = holder.parts[0]
    if content.tag == _OCTETS:
        return (content.octets,)
    if content.tag != _OCTETS_IN_PIECES or not {_OCTETS}.issuperset(tags(content.parts)):
        return None
    return tuple(piece.octets for piece in content.parts)


def content_info(data: bytes | mmap) -> tuple[bytes, tuple[Element, ...]]:
    """Give the OID and the parts of what ContentInfo (RFC 5652 section 3) holds; nothing where it is none."""
    try:
        whole = ber.read(data)
    except ber.MalformedError:
        return b"", ()
    if whole.tag != _SEQUENCE or tags(whole.parts) != (_OID, _EXPLICIT):
        return b"", ()
    kind, content = whole.parts
    if len(content.parts) != 1 or content.parts[0].tag != _SEQUENCE:
        return b"", ()
    return bytes(kind.octets), content.parts[0].parts


def _envelope(parts: tuple[Element, ...], ends: frozenset[tuple[int, ...]]) -> Envelope | None:
    """Check version, originator, recipients and encrypted content; `ends` are the tags that may come after."""
    if tags(parts)[1:2] == (_ORIGINATOR,):
        parts = (parts[0], *parts[2:])
    kinds = tags(parts)
    if kinds[:3] != (_INTEGER, _SET, _SEQUENCE) or kinds[3:] not in ends:
        return None
    recipients, info, rest = parts[1].parts, parts[2].parts, parts[3:]
    if not recipients or not _RECIPIENTS.issuperset(tags(recipients)) or not _is_content(info):
        return None
    content = info[2].parts if info[2].tag == _CONTENT_IN_PIECES else (info[2],)
    code = next((bytes(one.octets) for one in rest if one.tag == _OCTETS), None)
    attributes = next((one.whole for one in rest if one.tag == _ATTRIBUTES), b"") if code is not None else b""
    pieces = tuple(one.octets for one in content)
    return Envelope(recipients, info[1], pieces, code, b"\x31" + attributes[1:] if attributes else b"")


def _is_content(parts: tuple[Element, ...]) -> bool:
    """Check EncryptedContentInfo: plain data inside, an algorithm, and content that is there."""
    if len(parts) != 3 or parts[0].tag != _OID or parts[0].octets != DATA or parts[1].tag != _SEQUENCE:  # noqa: PLR2004 - three fields
        return False
    if tags(parts[1].parts)[:1] != (_OID,):
        return False
    content = parts[2]
    if content.tag == _CONTENT_IN_PIECES:
        return any(piece.octets for piece in content.parts) and {_OCTETS}.issuperset(tags(content.parts))
    return content.tag == _CONTENT and bool(content.octets)
