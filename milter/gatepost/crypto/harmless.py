"""
Decrypted content that nothing proves, made harmless: what somebody on the way built around it can neither load,
send nor run anything (EFAIL, CVE-2017-17689).

Rules:
  * The entity is written anew. Of its header fields a charset, a transfer encoding and a file's name remain.
  * Plain text stays; HTML keeps text and structure; everything else becomes a file to be saved: no message, image,
    drawing or calendar that a mail program opens by itself, and no Content-ID that could be referred to.
  * Names that make programs open a file as a document that loads others end in `.txt`.
  * Signatures count for nothing here: signed content stands as if unsigned.
  * What is not understood to its last part is not passed at all.
"""

import base64
import binascii
import quopri
import re
import secrets
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from urllib.parse import quote

from gatepost.crypto import cms, packets
from gatepost.message import html, mime
from gatepost.message.body import Body
from gatepost.message.field import Field, named, unfold

Entity = tuple[tuple[Field, ...], bytes]

_MAX_SIZE = 40 << 20  # octets: it is held several times over
_MAX_PARTS = 100  # of one multipart
_MAX_ENTITIES = 300
_MAX_HTML = 8 << 20  # octets, in all parts together: some seconds of work at the worst
_MAX_DEPTH = 6
_MAX_HEADER = 64 << 10  # octets of one entity's header
_MAX_NAMING = 1000  # octets of a field that may name a file
_MAX_NAME = 100  # characters
_LINE_END = re.compile(rb"\r\n|\r|\n")
_CHARSET = re.compile(
    rb"us-ascii|utf-?8|utf-16(?:le|be)?|iso-8859-\d{1,2}|(?:windows-|cp)\d{3,4}|koi8-[ru]|iso-2022-(?:jp|kr)"
    rb"|shift_jis|euc-(?:jp|kr)|gb2312|gbk|gb18030|big5",
    re.IGNORECASE,
)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2066-\u2069/\\:]")
_PARTED = {b"multipart/alternative": b"alternative", b"multipart/mixed": b"mixed", b"multipart/related": b"mixed"}
_NAMING = frozenset({b"content-disposition", b"content-type"})
_SIGNED, _CMS = b"multipart/signed", frozenset({b"application/pkcs7-mime", b"application/x-pkcs7-mime"})
_ENCODINGS = frozenset({b"7bit", b"8bit", b"binary", b"quoted-printable", b"base64"})
_ACTIVE = frozenset(
    (
        *("htm", "html", "shtml", "xhtml", "xht", "svg", "svgz", "xml", "xsl", "xslt", "mht", "mhtml", "swf"),
        *("eml", "msg", "url", "website", "webloc", "hta", "js", "jse", "mjs", "vbs", "vbe", "wsf", "wsh", "lnk"),
        *("desktop", "p7m", "p7s", "p7z", "p7c", "p7b", "dat", "asc", "pgp", "gpg", "ics", "vcf"),
    )
)


_PLAIN = Field(b"Content-Type", b" text/plain; charset=us-ascii")


class _UnclearError(ValueError):
    """The content cannot be made harmless for certain."""


def harmless(plaintext: Body) -> Entity | None:
    """Give a decrypted entity, harmless: its Content-* fields and its body; None where that is not certain."""
    if plaintext.size > _MAX_SIZE:
        return None
    try:
        return _Rewriting().entity(_LINE_END.sub(b"\r\n", plaintext.read()), 0)
    except (_UnclearError, binascii.Error):
        return None


class _Rewriting:
    """Writes one message anew, from the outside to the inside."""

    def __init__(self) -> None:
        self._left = _MAX_ENTITIES
        self._html_left = _MAX_HTML

    def entity(self, data: bytes, depth: int) -> Entity:
        """Write one entity anew; raises _UnclearError."""
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise _UnclearError
        fields, body = _split(data)
        if not named(fields, b"content-type"):
            if depth == 0:
                raise _UnclearError  # what a wrong key makes of the content looks so at times
            fields = (*fields, _PLAIN)
        kind = mime.content_type(fields)
        encoding = mime.transfer_encoding(fields)
        if kind is None or encoding not in _ENCODINGS:
            raise _UnclearError
        if kind.media.startswith(b"multipart/"):
            return self._multipart(kind, body, depth)
        if kind.media in _CMS:
            return self.entity(_LINE_END.sub(b"\r\n", _signed_content(_decoded(body, encoding))), depth + 1)
        if kind.media == b"text/html":
            return self._html(kind, _decoded(body, encoding))
        if kind.media == b"text/plain" and not _is_file(fields):
            return _fields(b"text/plain; charset=" + _charset(kind), encoding), body
        return _fields(b"application/octet-stream", encoding, _name(fields)), body

    def _multipart(self, kind: mime.ContentType, body: bytes, depth: int) -> Entity:
        """Write a multipart anew; of a signed one, what is signed."""
        subtype = _PARTED.get(kind.media)
        if subtype is None and kind.media != _SIGNED:
            raise _UnclearError
        found = mime.split(body, kind.parameters.get(b"boundary", b""), _MAX_PARTS)
        if found is None or not found.parts:
            raise _UnclearError
        if subtype is None:
            return self.entity(found.parts[0], depth + 1)
        boundary = b"gatepost-" + secrets.token_hex(16).encode()
        content = b"".join(_written([self.entity(part, depth + 1) for part in found.parts], boundary))
        value = b" multipart/" + subtype + b';\n boundary="' + boundary + b'"'
        return (Field(b"Content-Type", value),), content

    def _html(self, kind: mime.ContentType, data: bytes) -> Entity:
        """Write HTML anew, in UTF-8."""
        self._html_left -= len(data)
        if self._html_left < 0:
            raise _UnclearError
        charset = _charset(kind).decode("ascii") if b"charset" in kind.parameters else "utf-8"
        try:
            text = data.decode(charset)
        except (LookupError, ValueError):
            text = data.decode("windows-1252", "replace")
        encoded = base64.encodebytes(html.harmless(text).encode("utf-8", "replace")).replace(b"\n", b"\r\n")
        return _fields(b"text/html; charset=utf-8", b"base64"), encoded


def _split(data: bytes) -> Entity:
    """Take an entity apart; raises _UnclearError where its header is not well-formed, or too long."""
    long = len(data) > _MAX_HEADER and data.find(b"\r\n\r\n", 0, _MAX_HEADER) < 0
    found = None if long and not data.startswith(b"\r\n") else mime.split_entity(data)
    if found is None:
        raise _UnclearError
    return found


def _written(parts: Iterable[Entity], boundary: bytes) -> Iterator[bytes]:
    for fields, body in parts:
        yield b"--" + boundary + b"\r\n"
        yield from (field.wire() for field in fields)
        yield b"\r\n" + body + b"\r\n"
    yield b"--" + boundary + b"--\r\n"


def _fields(content_type: bytes, encoding: bytes, disposition: bytes = b"") -> tuple[Field, ...]:
    found = [Field(b"Content-Type", b" " + content_type), Field(b"Content-Transfer-Encoding", b" " + encoding)]
    if disposition:
        found.append(Field(b"Content-Disposition", b" attachment;\n filename*=utf-8''" + disposition))
    return tuple(found)


def _charset(kind: mime.ContentType) -> bytes:
    """Give the charset where it is one that mail has; else the one that mail has without it."""
    name = kind.parameters.get(b"charset", b"")
    return name if _CHARSET.fullmatch(name) else b"us-ascii"


def _is_file(fields: tuple[Field, ...]) -> bool:
    return any(
        unfold(field.value).strip().lower().startswith(b"attachment")
        for field in named(fields, b"content-disposition")
    )


def _name(fields: tuple[Field, ...]) -> bytes:
    """Give the file's name as RFC 2231 writes it, without what could deceive."""
    head = b"".join(field.wire() for field in fields if field.key in _NAMING and len(field.value) < _MAX_NAMING)
    message: Message = BytesHeaderParser().parsebytes(head + b"\r\n")
    try:
        name = str(message.get_filename() or "")
    except (LookupError, ValueError, TypeError):
        name = ""
    name = _UNSAFE.sub("_", name.encode("utf-8", "replace").decode())[-_MAX_NAME:].strip(" .") or "attachment"
    if name.rpartition(".")[2].lower() in _ACTIVE:
        name += ".txt"
    return quote(name, safe="").encode("ascii")


def _decoded(body: bytes, encoding: bytes) -> bytes:
    if encoding == b"base64":
        found = packets.from_base64(body)
        if found is None:
            raise _UnclearError
        return found
    return quopri.decodestring(body) if encoding == b"quoted-printable" else body


def _signed_content(data: bytes) -> bytes:
    found = cms.signed_content(data)
    if found is None:
        raise _UnclearError
    return found
