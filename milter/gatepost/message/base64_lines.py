"""
Base64 as mail carries it: lines of 76 characters that end with CRLF (RFC 2045 section 6.8).
"""

import binascii
from collections.abc import Iterable, Iterator

_OCTETS = 57  # make a line of 76 characters


def encoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encode data in pieces; gives whole lines."""
    held = b""
    for piece in pieces:
        data = held + piece
        whole = len(data) - len(data) % _OCTETS
        held = data[whole:]
        if whole:
            yield _lines(data[:whole])
    if held:
        yield _lines(held)


def _lines(data: bytes) -> bytes:
    text = binascii.b2a_base64(data, newline=False)
    return b"".join([text[start : start + 76] + b"\r\n" for start in range(0, len(text), 76)])
