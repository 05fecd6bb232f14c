"""
Encrypted parts inside other parts, found by a cheap look through the bytes.

Nothing is taken apart: what is told is a hint for people, and nothing is opened on it. A part counts by the label
or the armor at the beginning of a line; who hides one deeper hides it from most mail programs too.
"""

import re
from collections.abc import Iterable, Iterator

from gatepost.crypto import cms, packets, pgpmime
from gatepost.message.body import Body
from gatepost.message.field import Field

_OVERLAP = 4096  # octets: a label, and the beginning of the part behind it
_MOST = 50  # labels that are looked at closely; with more, the message counts
_ARMOR_IN_BASE64 = b"LS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0t"
_NEEDLES = (b"pkcs7-mime", b".p7m", b"multipart/encrypted", b"begin pgp message", _ARMOR_IN_BASE64.lower())
_CERTAIN = re.compile(
    rb"^(?:content-type[ \t]*:(?:[ \t]|\r\n[ \t])*multipart/encrypted"
    rb"|-----begin pgp message-----"
    rb"|" + _ARMOR_IN_BASE64 + rb")",
    re.IGNORECASE | re.MULTILINE,
)
_CMS_PART = re.compile(
    rb"^content-(?:type|disposition)[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*){0,8}?(?:pkcs7-mime|\.p7m\b)",
    re.IGNORECASE | re.MULTILINE,
)
_HEADER_END = re.compile(rb"\r\n\r\n")
_BEGINNING = 48  # octets


def may_hold_encrypted(fields: Iterable[Field]) -> bool:
    """Tell from the header whether the entity has other entities inside."""
    return pgpmime.media_type(tuple(fields)).startswith((b"multipart/", b"message/"))


def holds_encrypted(body: Body) -> bool:
    """Tell whether somewhere in the body stands an encrypted part, or an armored message."""
    looked_at = 0
    for window, end in _windows(body):
        if b"-" not in window and _ARMOR_IN_BASE64 not in window:
            continue  # no label and no armor: an attachment's letters, mostly
        lowered = window.lower()
        if not any(needle in lowered for needle in _NEEDLES):
            continue
        if _CERTAIN.search(window):
            return True
        for match in _CMS_PART.finditer(window):
            if match.end() > end:
                break  # the next window shows more of it
            looked_at += 1
            if looked_at > _MOST or not _is_signed(window, match.end()):
                return True
    return False


def _windows(body: Body) -> Iterator[tuple[bytes, int]]:
    """Give the body in pieces that overlap, and where in each the next one begins."""
    held = b""
    for piece in body.chunks():
        window = held + piece
        if len(window) > 2 * _OVERLAP:
            yield window, len(window) - _OVERLAP
            window = window[-_OVERLAP:]
        held = window
    yield held, len(held)


def _is_signed(window: bytes, position: int) -> bool:
    """Tell whether the part with this label is signed only, by its first octets; in doubt it is not."""
    end = _HEADER_END.search(window, position)
    if end is None:
        return False
    start = window[end.end() : end.end() + 2 * _BEGINNING]
    text = start.translate(None, b" \t\r\n")[: _BEGINNING // 3 * 4]
    decoded = packets.from_base64(text[: len(text) & ~3])
    return cms.begins_signed(start) or cms.begins_signed(decoded or b"")
