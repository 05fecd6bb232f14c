"""
Encoded words (RFC 2047): text beyond ASCII in header fields.

Decoding is generous, as mail programs are: words may stand next to other text, be split inside a character,
mix B and Q, or be cut short; what cannot be decoded stays as written. Encoding gives ASCII only: UTF-8 in B,
lines shorter than 76 columns. Both take time linear in the length.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Iterator

_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bq])\?([^?]*)\?=", re.IGNORECASE)
_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_BLANK = re.compile(r"[\n-\r\x1c-\x1f\x85]")  # the controls that count as white space
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Codecs that Python offers for its own purposes; no mail program reads them.
_FOREIGN = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
_COLUMNS = 75
_FRAME = len("=?utf-8?b??=")
_FULL = (_COLUMNS - 1 - _FRAME) // 4 * 3  # octets in an encoded word that has a line to itself
_LEAST = 12  # a shorter first word is not worth its frame


def decode(text: str) -> str:
    """Put decoded text in the place of encoded words; white space between two of them goes (section 6.2)."""
    if "=?" not in text:
        return text
    pieces: list[str] = []
    pending: tuple[str, bytes] | None = None  # charset and octets of words that stand side by side
    end = 0
    for match in _WORD.finditer(text):
        between = text[end : match.start()]
        charset = match[1].partition("*")[0].lower()  # RFC 2231 section 5: a language may follow
        octets = _octets(match[2].lower(), match[3])
        if pending and not between.strip():
            if pending[0] == charset:  # a character may be split over two words
                pending = (charset, pending[1] + octets)
                end = match.end()
                continue
            between = ""
        if pending:
            pieces.append(_characters(*pending))
        pieces.append(between)
        pending = (charset, octets)
        end = match.end()
    if pending:
        pieces.append(_characters(*pending))
    pieces.append(text[end:])
    return "".join(pieces)


def _octets(encoding: str, content: str) -> bytes:
    octets = content.encode("utf-8")
    if encoding == "q":
        return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), octets.replace(b"_", b" "))
    letters = _NOT_BASE64.sub(b"", octets)
    if len(letters) % 4 == 1:  # one letter too many carries no octet
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _characters(charset: str, octets: bytes) -> str:
    """Decode with the charset; an unknown one, or octets that are not of it, as UTF-8, else as Latin-1."""
    for name in (charset, "utf-8"):
        try:
            codec = codecs.lookup(name)
            if codec.name.replace("-", "_") in _FOREIGN:
                continue
            return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", octets.decode(codec.name))
        except (LookupError, ValueError):
            continue
    return octets.decode("latin-1")


def encode(text: str, column: int) -> bytes:
    """
    Write text as a field's value in ASCII, its leading space included, folded with LF.

    `column` is where the value starts, the length of the field's name and its colon. Words in ASCII before and
    after the part that needs encoding stay readable. Line ends become blanks and other controls go: nothing a
    sender wrote can start another field.
    """
    cleaned = _CONTROL.sub("", _BLANK.sub(" ", text))
    first, last = _needy(cleaned)
    head, middle, tail = cleaned[:first], cleaned[first:last], cleaned[last:]
    lines = _Lines(column)
    for token in re.findall(r"[ \t]*[^ \t]+", head):
        lines.add(token if lines.text or token[0] in " \t" else f" {token}")
    if middle:
        for word in _words(middle, _COLUMNS - lines.column - 1):
            lines.add(f" {word}")
    for token in re.findall(r"[ \t]*[^ \t]+", tail):
        lines.add(token if lines.text or token[0] in " \t" else f" {token}")
    return (lines.text or " ").encode("ascii")


def _needy(text: str) -> tuple[int, int]:
    """Find the part from the first to the last word that needs encoding, extra blanks at its edges included."""
    spans = [match.span() for match in re.finditer(r"[^ \t]+", text) if not match[0].isascii() or "=?" in match[0]]
    if not spans:
        return len(text), len(text)
    first, last = spans[0][0], spans[-1][1]
    head = text[:first].rstrip(" \t")
    first = min(first, len(head) + 1) if head else 0
    tail = text[last:].lstrip(" \t")
    last = len(text) - len(tail) - 1 if tail else last
    return first, max(last, spans[-1][1])


def _words(text: str, room: int) -> Iterator[str]:
    """Cut text into encoded words between characters; the first fits into `room` columns if it can."""
    limit = (room - _FRAME) // 4 * 3
    if limit < _LEAST:
        limit = _FULL
    piece = b""
    for char in text:
        octets = char.encode("utf-8")
        if piece and len(piece) + len(octets) > limit:
            yield _framed(piece)
            piece = b""
            limit = _FULL
        piece += octets
    yield _framed(piece)


def _framed(octets: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(octets).decode('ascii')}?="


class _Lines:
    """A value being written, folded before a token that would pass the last column."""

    def __init__(self, column: int) -> None:
        self.text = ""
        self.column = column

    def add(self, token: str) -> None:
        """Append a token that begins with white space, on a new line where it does not fit."""
        if self.text and self.column + len(token) > _COLUMNS:
            self.text += "\n"
            self.column = 0
        self.text += token
        self.column += len(token)
