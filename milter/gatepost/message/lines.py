"""
Lines of a body, looked at in bulk: whether mail servers on the way might change any of them.

The body is read in pieces of whole lines, and each piece is searched by what the interpreter does fast.
"""

import mmap
import re
from collections.abc import Iterator

Data = bytes | mmap.mmap

_LONGEST = 998  # octets, without CRLF (RFC 5322 section 2.1.1)
_PIECE = 1 << 16
_LABEL = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t]*(?:8bit|binary)", re.MULTILINE)
_NAME = b"content-transfer-encoding"


def are_broken(data: Data, start: int, end: int) -> bool:
    """
    Tell whether lines are not 7-bit as RFC 2045 section 2.7 has it: octets above 127, NUL, CR or LF alone, or more
    than 998 octets.
    """
    return any(_is_broken(piece) for piece in _pieces(data, start, end))


def are_untidy(data: Data, start: int, end: int) -> bool:
    """Tell whether lines are broken, or one begins with `From ` or ends with a blank."""
    return any(
        _is_broken(piece)
        or piece.startswith(b"From ")
        or b"\nFrom " in piece
        or b" \r\n" in piece
        or b"\t\r\n" in piece
        or piece[-1:] in {b" ", b"\t"}
        for piece in _pieces(data, start, end)
    )


def have_label(data: Data, start: int, end: int) -> bool:
    """Tell whether a line, which may be one of a part's header, calls content 8-bit or binary."""
    for piece in _pieces(data, start, end):
        low = piece.lower()
        if _NAME in low and _LABEL.search(low):
            return True
    return False


def _pieces(data: Data, start: int, end: int) -> Iterator[bytes]:
    """Give whole lines, except where one is too long, and the last."""
    while start < end:
        stop = min(start + _PIECE, end)
        if stop < end:
            stop = data.rfind(b"\r\n", start, stop) + 2 if data.find(b"\r\n", start, stop) >= 0 else stop
        yield data[start:stop]
        start = stop


def _is_broken(piece: bytes) -> bool:
    breaks = piece.count(b"\r\n")
    return (
        not piece.isascii()
        or b"\0" in piece
        or piece.count(b"\r") != breaks
        or piece.count(b"\n") != breaks
        or max(map(len, piece.split(b"\r\n"))) > _LONGEST
    )
