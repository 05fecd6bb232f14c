"""
OpenPGP packets from the outside: enough to tell whether bytes are an encrypted message, without any key.

RFC 9580 section 4.2 (packet headers), 6 (ASCII armor), 10.3 (grammar of an encrypted message).
"""

import binascii
import re
from collections.abc import Iterator

_BEGIN = b"-----BEGIN PGP MESSAGE-----"
_END = b"-----END PGP MESSAGE-----"
_HEAD = re.compile(rb"[ \t]*\r?\n(?:[^\r\n:]{1,200}:[^\r\n]{0,1000}\r?\n)*[ \t]*\r?\n")
_CHECKSUM = re.compile(rb"\n=[A-Za-z0-9+/]{4}\s*\Z")
_SPACE = re.compile(rb"\s*")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_BLANK = b" \t\r\n"
_PIECE = 1 << 16  # octets
_MAX_TAIL = 4096  # octets: the last line, and white space behind it
PKESK, SKESK = 1, 3
_MARKER, _SEIPD, _OCB, _PADDING = 10, 18, 20, 21
PROTECTED = frozenset({_SEIPD, _OCB})
UNPROTECTED = frozenset({9})
_SESSION_KEYS = frozenset({PKESK, SKESK})
_IGNORED = frozenset({_MARKER, _PADDING})
_MAX_PACKETS = 5000


def dearmor(data: bytes) -> bytes | None:
    """Give the packets of one armored message, if the data is that and nothing else; binary data as it is."""
    if data[:1] >= b"\x80":
        return data
    begin = _SPACE.match(data)
    if begin is None or not data.startswith(_BEGIN, begin.end()):
        return None
    head = _HEAD.match(data, begin.end() + len(_BEGIN))
    tail = data[-_MAX_TAIL:].rstrip()
    if head is None or not tail.endswith(_END):
        return None
    end = len(data) - len(data[-_MAX_TAIL:]) + len(tail) - len(_END)
    checksum = _CHECKSUM.search(data, max(head.end(), end - 16), end)
    return from_base64(data, head.end(), checksum.start() if checksum else end)


def from_base64(text: bytes, start: int = 0, end: int | None = None) -> bytes | None:
    """
    Decode base64 with white space anywhere; None where anything else stands in it, or anything behind its padding.

    It is read piece by piece: a large message is not copied.
    """
    end = len(text) if end is None else end
    decoded: list[bytes] = []
    held = b""  # what makes no whole quad yet
    padded = False
    for position in range(start, end, _PIECE):
        piece = text[position : min(position + _PIECE, end)]
        if piece.translate(None, _ALPHABET + _BLANK):
            return None
        written = piece.translate(None, _BLANK)
        if b"=" in written.rstrip(b"=") or (padded and written.strip(b"=")):
            return None
        padded = padded or written.endswith(b"=")
        quads = held + written
        whole = len(quads) & ~3
        held = quads[whole:]
        decoded.append(quads[:whole])
    try:
        return b"".join(map(binascii.a2b_base64, [*decoded, held]))
    except binascii.Error:
        return None


def is_encrypted_message(data: bytes, kinds: frozenset[int] = PROTECTED) -> bool:
    """
    Tell whether binary data is, to its last octet, session keys and one encrypted packet of these kinds.

    The old packet without integrity does not count unless asked for: whoever can change it can make it leak.
    """
    tags = [tag for tag, _ in walk(data) if tag not in _IGNORED]
    return len(tags) > 1 and tags[-1] in kinds and all(tag in _SESSION_KEYS for tag in tags[:-1])


def walk(data: bytes) -> Iterator[tuple[int, tuple[memoryview, ...]]]:
    """Give each packet's tag and its body, in pieces, in order; -1 where the data is no sequence of packets."""
    view = memoryview(data)
    position = 0
    for _ in range(_MAX_PACKETS):
        if position == len(data):
            return
        octet = data[position]
        if not octet & 0x80:
            break
        new = bool(octet & 0x40)
        spans = _spans(data, position + 1) if new else (_old_span(data, position + 1, octet & 3),)
        if not spans or spans[-1][1] > len(data):
            break
        yield octet & 0x3F if new else (octet >> 2) & 0xF, tuple([view[start:end] for start, end in spans])
        position = spans[-1][1]
    yield -1, ()


def _spans(data: bytes, position: int) -> tuple[tuple[int, int], ...]:
    """Find the pieces of a new-format packet (section 4.2.1): one, or several of partial lengths; none if cut."""
    spans: list[tuple[int, int]] = []
    while position < len(data):
        first = data[position]
        if first < 192:  # noqa: PLR2004 - section 4.2.1.1
            return (*spans, (position + 1, position + 1 + first))
        if first < 224:  # noqa: PLR2004 - section 4.2.1.2
            second = data[position + 1] if position + 1 < len(data) else 0
            return (*spans, (position + 2, position + 2 + ((first - 192) << 8) + second + 192))
        if first == 255:  # noqa: PLR2004 - section 4.2.1.3
            length = int.from_bytes(data[position + 1 : position + 5], "big")
            return (*spans, (position + 5, position + 5 + length))
        start, position = position + 1, position + 1 + (1 << (first & 0x1F))
        spans.append((start, position))
    return ()


def _old_span(data: bytes, position: int, kind: int) -> tuple[int, int]:
    """Find the body of an old-format packet (section 4.2.2); an indeterminate length reaches to the end."""
    if kind == 3:  # noqa: PLR2004 - section 4.2.2: indeterminate
        return position, len(data)
    octets = 1 << kind
    return position + octets, position + octets + int.from_bytes(data[position : position + octets], "big")
