"""
An entity made safe for its way: in such a form that mail servers have no reason to change a signed one.

Safe is what is 7-bit in lines of at most 998 octets that end with CRLF, without NUL, bare CR and bare LF, and that
no label calls 8-bit or binary; and in content no line that begins with `From ` or ends with a blank (RFC 1847
section 2.1, RFC 3156 sections 3 and 5, RFC 8551 section 3.1.3). What is safe stays as it is, to the last octet.

Otherwise the parts that are not safe are written anew, text as quoted-printable, all else as base64; their content
stays the same. What must not be touched (something signed or encrypted inside, a header that is not plain ASCII)
makes the whole entity one that cannot be made safe.

Large bodies are read where they lie, a part at a time.
"""

import binascii
import mmap
import quopri
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatepost.message import base64_lines, lines, mime, quoted_printable
from gatepost.message.body import Body, Spool
from gatepost.message.field import Field
from gatepost.message.lines import Data
from gatepost.message.mime import ContentType

_MOST_LEVELS = 20
_MOST_PARTS = 2000
_MOST_HEADER = 1 << 20
_CHUNK = 1 << 16
_HEADER_END = re.compile(rb"\r\n\r\n")
_SEALED = frozenset({b"multipart/signed", b"multipart/encrypted"})
_MESSAGES = frozenset({b"message/rfc822", b"message/global"})
_PLAIN = frozenset({b"7bit", b"8bit", b"binary"})


class UnsafeError(ValueError):
    """An entity that cannot be made safe; the text says why."""


def safe(fields: Iterable[Field], body: Body, directory: Path | None = None) -> tuple[tuple[Field, ...], Body]:
    """
    Make an entity safe: give its Content-* fields and its body, the very same if there is nothing to do.

    A large new body is spooled in `directory`. Raises UnsafeError, OSError.
    """
    fields = tuple(fields)
    header = b"".join([field.wire() for field in fields])
    if lines.are_broken(header, 0, len(header)):
        raise UnsafeError("its header is not plain ASCII")
    data, size = _data(body), body.size
    untidy = lines.are_untidy(data, 0, size) or lines.have_label(data, 0, size)
    if not untidy and not lines.have_label(header, 0, len(header)):
        return fields, body
    written = Spool(directory)
    editor = _Editor(data, written)
    part = editor.part(fields, 0, size)
    editor.write(part, level=0)
    if lines.are_broken(_data(written), 0, written.size):
        raise UnsafeError("it is not well-formed")
    return part.fields, written


def _data(body: Body) -> Data:
    if isinstance(body, Spool) and body.file is not None:
        return mmap.mmap(body.file.fileno(), body.size, access=mmap.ACCESS_READ)
    return body.read()


@dataclass(frozen=True, slots=True)
class _Part:
    """
    An entity: its fields as they are to be written, where its body stands, and what is to be done about it.

    `anew` is the transfer encoding in which a body is written anew that has the encoding `encoding` now.
    `boundary` parts one that holds others; of a message it is empty.
    """

    fields: tuple[Field, ...]
    start: int
    end: int
    encoding: bytes = b""
    anew: bytes = b""
    boundary: bytes | None = None


class _Editor:
    """Writes one entity anew; all positions are those in its data."""

    def __init__(self, data: Data, target: Spool) -> None:
        self._data = data
        self._target = target
        self._parts = 0

    def part(self, fields: tuple[Field, ...], start: int, end: int) -> _Part:
        """Tell what is to be done about an entity; raises UnsafeError."""
        encoding = mime.transfer_encoding(fields)
        kind = mime.content_type(fields)
        if kind is None and any(field.key == b"content-type" for field in fields):
            raise UnsafeError("a content type cannot be read")
        media = kind.media if kind else b"text/plain"
        if media.startswith((b"multipart/", b"message/")):
            return self._composite(fields, kind, media, start, end)
        if not lines.are_untidy(self._data, start, end):
            return _Part(_unlabelled(fields), start, end)
        if encoding not in _PLAIN | {b"quoted-printable", b"base64"}:
            raise UnsafeError("a transfer encoding is not known")
        is_text = media.startswith(b"text/") and self._data.find(b"\0", start, end) < 0
        as_text = encoding == b"quoted-printable" or (encoding in _PLAIN and is_text)
        anew = b"quoted-printable" if as_text else b"base64"
        return _Part(_relabelled(fields, anew), start, end, encoding, anew)

    def _composite(
        self, fields: tuple[Field, ...], kind: ContentType | None, media: bytes, start: int, end: int
    ) -> _Part:
        """Look into what holds other entities, unless it can stay as it is."""
        is_broken = lines.are_broken(self._data, start, end) or lines.have_label(self._data, start, end)
        boundary = kind.parameters.get(b"boundary", b"") if kind else b""
        is_open = media in _MESSAGES or (media.startswith(b"multipart/") and media not in _SEALED and boundary)
        if not is_broken and (not is_open or not lines.are_untidy(self._data, start, end)):
            return _Part(_unlabelled(fields), start, end)
        if not is_open or mime.transfer_encoding(fields) not in _PLAIN:
            raise UnsafeError(f"what is {media.decode('ascii')} must not be changed")
        return _Part(_unlabelled(fields), start, end, boundary=b"" if media in _MESSAGES else boundary)

    def write(self, part: _Part, *, level: int) -> None:
        """Write the body of an entity."""
        self._parts += 1
        if level > _MOST_LEVELS or self._parts > _MOST_PARTS:
            raise UnsafeError("it has too many parts or levels")
        if part.boundary:
            for start, end, is_part in self._pieces(part):
                if is_part:
                    self._entity(start, end, level=level + 1)
                else:
                    self._copy(start, end)
        elif part.boundary is not None:
            self._entity(part.start, part.end, level=level + 1)
        elif part.anew:
            self._leaf(part)
        else:
            self._copy(part.start, part.end)

    def _pieces(self, part: _Part) -> Iterator[tuple[int, int, bool]]:
        """Take a multipart apart (RFC 2046 section 5.1.1): what stands between parts, and the parts."""
        line = re.compile(rb"(?:\r\n|\A)--" + re.escape(part.boundary or b"") + rb"(--)?[ \t]*(?=\r\n|\Z)")
        position, inside = part.start, False
        # The delimiter's own line break may be the one before the body
        for mark in line.finditer(self._data, max(part.start - 2, 0), part.end):
            stop = max(position, mark.start())
            after = min(mark.end() + 2, part.end)
            yield position, stop, inside
            yield stop, after, False
            position, inside = after, not mark[1]
            if mark[1]:
                break
        yield position, part.end, inside

    def _entity(self, start: int, end: int, *, level: int) -> None:
        """Write a part or a message with its header."""
        body = self._body_of(start, end)
        found = mime.split_entity(self._data[start:body]) if body - start <= _MOST_HEADER else None
        if found is None or found[1] or lines.are_broken(self._data, start, body):
            raise UnsafeError("a part's header is not plain, or not well-formed")
        part = self.part(found[0], body, end)
        if part.fields == found[0]:
            self._copy(start, body)
        else:
            self._target.write(b"".join([one.wire() for one in part.fields]) + b"\r\n")
        self.write(part, level=level)

    def _body_of(self, start: int, end: int) -> int:
        if self._data[start : start + 2] == b"\r\n":
            return start + 2
        found = _HEADER_END.search(self._data, start, end)
        return end if found is None else found.end()

    def _leaf(self, part: _Part) -> None:
        writer = quoted_printable if part.anew == b"quoted-printable" else base64_lines
        for piece in writer.encoded(self._decoded(part)):
            self._target.write(piece)

    def _decoded(self, part: _Part) -> Iterable[bytes]:
        if part.encoding in _PLAIN:
            return self._chunks(part.start, part.end)
        text = self._data[part.start : part.end]
        if part.encoding == b"quoted-printable":
            return (quopri.decodestring(text),)
        try:
            return (binascii.a2b_base64(text),)
        except binascii.Error:
            raise UnsafeError("a part is no base64") from None

    def _chunks(self, start: int, end: int) -> Iterator[bytes]:
        for position in range(start, end, _CHUNK):
            yield self._data[position : min(position + _CHUNK, end)]

    def _copy(self, start: int, end: int) -> None:
        for piece in self._chunks(start, end):
            self._target.write(piece)


def _unlabelled(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Take back a label that calls 7-bit content something else."""
    return _relabelled(fields, b"7bit") if mime.transfer_encoding(fields) in {b"8bit", b"binary"} else fields


def _relabelled(fields: tuple[Field, ...], encoding: bytes) -> tuple[Field, ...]:
    """Name another transfer encoding, in the place of the one that is named."""
    new = Field(b"Content-Transfer-Encoding", b" " + encoding)
    if not any(field.key == new.key for field in fields):
        return (*fields, new)
    return tuple(new if field.key == new.key else field for field in fields)
