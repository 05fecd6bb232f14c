"""
Quoted-printable, written so that no mail server on the way has a reason to touch it (RFC 2045 section 6.7).

CRLF stays a line break; every other octet comes back as it was, bare CR and LF too. No line is longer than 76
characters, ends with a blank, or begins with `From ` or with a dot.
"""

import binascii
import re
from collections.abc import Iterable, Iterator

_LONGEST = 76
_UNSAFE = re.compile(rb"[^\t -<>-~]")
_TOUCHED = (b"From ", b".")


def encoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encode text in pieces; gives pieces of any size."""
    held = b""
    for piece in pieces:
        data = held + piece
        end = data.rfind(b"\r\n") + 2 if b"\r\n" in data else 0
        held = data[end:]
        if end:
            yield _lines(data[:end])
    if held:
        yield _line(held)


def _lines(data: bytes) -> bytes:
    """Encode whole lines: by the library, unless they hold what it does not do as it is meant here."""
    if data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r"):
        text = binascii.b2a_qp(data)
        if not text.startswith(_TOUCHED) and not any(b"\n" + start in text for start in _TOUCHED):
            return text
    return b"".join([_line(line) + b"\r\n" for line in data[:-2].split(b"\r\n")])


def _line(line: bytes) -> bytes:
    """Encode what stands between two line breaks, in as many lines as it takes."""
    text = _UNSAFE.sub(_escaped, line)
    if text[-1:] in {b" ", b"\t"}:
        text = text[:-1] + b"=%02X" % text[-1]
    done = []
    start = 0
    while True:
        first = b"=%02X" % text[start] if text.startswith(_TOUCHED, start) else b""
        start += bool(first)
        room = _LONGEST - len(first)
        if len(text) - start <= room:
            done.append(first + text[start:])
            return b"=\r\n".join(done)
        end = start + room - 1  # for the sign that the line goes on
        mark = text.rfind(b"=", end - 2, end)
        if mark >= 0:
            end = mark
        done.append(first + text[start:end])
        start = end


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"=%02X" % match[0][0]
