"""
The outermost MIME entity, taken apart by bytes: Content-Type, the parts of a small multipart, an entity's header.

It never looks deeper than one level and stops at the first part too many, so that hostile input (thousands of
parts, hundreds of levels, giant boundaries) costs one search through the body. RFC 2045, RFC 2046 section 5.1.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from gatepost.message.field import Field, named, unfold

_MAX_VALUE = 8 << 10  # octets of a Content-Type that is still read
_MAX_BOUNDARY = 70  # RFC 2046 section 5.1.1
_TYPE = re.compile(rb"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?=;|$)")
_PARAMETER = re.compile(rb';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*')
_QUOTED_PAIR = re.compile(rb"\\(.)")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:((?:[^\r\n\0]|\r\n[ \t])*)\r\n")


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type: `media` in lower case ("text/plain"), parameters by their lower-case names."""

    media: bytes
    parameters: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart's parts as written, and what stands before and after them."""

    preamble: bytes
    parts: tuple[bytes, ...]
    epilogue: bytes


def content_type(fields: Iterable[Field]) -> ContentType | None:
    """Read the Content-Type; None where there is none, more than one, or one that is not well-formed."""
    found = named(fields, b"content-type")
    if len(found) != 1 or len(found[0].value) > _MAX_VALUE:
        return None
    return _content_type(unfold(found[0].value))


@lru_cache(maxsize=256)  # a message is asked several times on its way
def _content_type(value: bytes) -> ContentType | None:
    media = _TYPE.match(value)
    if media is None:
        return None
    parameters: dict[bytes, bytes] = {}
    position = media.end()
    while match := _PARAMETER.match(value, position):
        text = match[3] if match[2] is None else _QUOTED_PAIR.sub(rb"\1", match[2])
        if parameters.setdefault(match[1].lower(), text) != text:
            return None  # two readers could take two different boundaries
        position = match.end()
    return ContentType(media[1].lower(), parameters)


def split(body: bytes, boundary: bytes, limit: int) -> Multipart | None:
    """
    Take a multipart body apart; None where the boundary is none or there are more than `limit` parts.

    A missing last boundary is forgiven: the last part then reaches to the end.
    """
    if not boundary or len(boundary) > _MAX_BOUNDARY or boundary[-1:].isspace():
        return None
    delimiter = _Delimiter(boundary)
    first = delimiter.search(body, 0)
    if first is None or first[1]:
        return None
    parts: list[bytes] = []
    start = first.end()
    while len(parts) < limit:
        # a delimiter's own CRLF may be the one that ended the delimiter line before it
        mark = delimiter.search(body, start - 2)
        if mark is None:
            return Multipart(body[: first.start()], (*parts, body[start:]), b"")
        parts.append(body[start : max(start, mark.start())])
        if mark[1]:
            return Multipart(body[: first.start()], tuple(parts), body[mark.end() :])
        start = mark.end()
    return None


class _Delimiter:
    """
    The lines that part a multipart.

    They are looked for by their octets, and only what is found is held against the grammar: a large body takes a
    few milliseconds so.
    """

    def __init__(self, boundary: bytes) -> None:
        self._octets = b"--" + boundary
        self._line = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r\n|\Z)")

    def search(self, body: bytes, position: int) -> re.Match[bytes] | None:
        """Find the next such line; the CRLF before it stands at `position` or behind it."""
        found = body.find(self._octets, position and position + 2)
        while found >= 0:
            if match := self._line.match(body, max(found - 2, 0)):
                return match
            found = body.find(self._octets, found + 1)
        return None


def split_entity(data: bytes) -> tuple[tuple[Field, ...], bytes] | None:
    """Take an entity apart into its header fields and its body; None where its header is not well-formed."""
    fields: list[Field] = []
    position = 0
    while match := _FIELD.match(data, position):
        fields.append(Field(match[1], match[2].replace(b"\r\n", b"\n")))
        position = match.end()
    if data[position : position + 2] == b"\r\n":
        return tuple(fields), data[position + 2 :]
    return (tuple(fields), b"") if fields and position == len(data) else None


def transfer_encoding(fields: Iterable[Field]) -> bytes:
    """Read the Content-Transfer-Encoding in lower case; `7bit` if there is none, empty if there are several."""
    found = named(fields, b"content-transfer-encoding")
    if len(found) > 1:
        return b""
    return unfold(found[0].value).strip().lower() if found else b"7bit"
