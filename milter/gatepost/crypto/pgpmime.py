"""
PGP/MIME: the shape of an encrypted message (RFC 3156), built and opened byte for byte.

What is encrypted is the message's own content: its Content-* fields as received, a blank line, its body.
All other fields stay outside, where mail servers and filters read them.

Reading looks at the outermost entity only, and believes packets, never labels: text beside the encrypted part,
in a third part or around an inline message, makes the message an unencrypted one.
"""

import itertools
import quopri
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from gatepost.crypto import cms, packets
from gatepost.message import mime
from gatepost.message.body import Body, Spool
from gatepost.message.field import Field

MAX_CIPHERTEXT = 64 << 20  # octets; what is larger goes on as it came

CMS_TYPES = frozenset({b"application/pkcs7-mime", b"application/x-pkcs7-mime"})

_CONTENT = b"content-"
_PARTS = 2
_MAX_HEADER = 1 << 20  # octets of a decrypted entity's header
_MAX_PREAMBLE = 256  # octets: a note for old mail programs, no room for a letter
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DEFAULT = Field(b"Content-Type", b" text/plain; charset=us-ascii")  # RFC 2045 section 5.2
_UNKNOWN = Field(b"Content-Type", b" text/plain; charset=utf-8")

_PREAMBLE = b"This is an OpenPGP/MIME encrypted message (RFC 3156)."
_VERSION_PART = b"""
Content-Type: application/pgp-encrypted
Content-Description: PGP/MIME version identification

Version: 1
""".replace(b"\n", b"\r\n")
_MESSAGE_PART = b"""
Content-Type: application/octet-stream; name="encrypted.asc"
Content-Description: OpenPGP encrypted message
Content-Disposition: inline; filename="encrypted.asc"

""".replace(b"\n", b"\r\n")


def is_content(field: Field) -> bool:
    """Tell whether the field describes the body, and so travels inside (RFC 2045 section 9)."""
    return field.key.startswith(_CONTENT)


def plaintext_of(fields: Iterable[Field], body: Iterable[bytes]) -> Iterator[bytes]:
    """
    Give what is to be encrypted, in pieces: the Content-* fields as received, a blank line, the body.

    Nothing is added: without a Content-Type the entity is plain text inside as it was outside (RFC 2045 5.2).
    """
    yield b"".join([field.wire() for field in fields if is_content(field)]) + b"\r\n"
    yield from body


def enclose(armored: Body, directory: Path | None = None) -> tuple[bytes, Body]:
    """
    Build the encrypted message around ASCII armor: the value of Content-Type (leading space, folded with LF)
    and the body with CRLF line ends. RFC 3156 section 4. A large one is spooled in `directory`.
    """
    boundary = b"gatepost-" + secrets.token_hex(16).encode()
    content_type = b' multipart/encrypted; protocol="application/pgp-encrypted";\n boundary="' + boundary + b'"'
    mark = b"\r\n--" + boundary
    body = Spool(directory)
    body.write(_PREAMBLE + mark + _VERSION_PART + mark + _MESSAGE_PART)
    for chunk in armored.chunks():
        body.write(chunk.replace(b"\r", b"").replace(b"\n", b"\r\n"))
    body.write(mark + b"--\r\n")
    return content_type, body


def may_be_encrypted(fields: Iterable[Field], *, inline: bool) -> bool:
    """Tell from the header alone whether the body needs to be looked at; `inline`: armor as text counts too."""
    fields = tuple(fields)
    media = media_type(fields)
    return media in CMS_TYPES or media == b"multipart/encrypted" or (inline and media == b"text/plain")


def ciphertext(fields: Iterable[Field], body: Body, *, inline: bool) -> bytes | None:
    """
    Give the encrypted message that is the outermost entity; None if it is none.

    It is OpenPGP, without its armor, or an enveloped CMS. `inline`: a text body that is nothing but one armored
    message counts too.
    """
    fields = tuple(fields)
    if body.size > MAX_CIPHERTEXT:
        return None
    media = media_type(fields)
    if media in CMS_TYPES:
        found = decoded(fields, body.read())
        return found if found is not None and cms.is_enveloped(found) else None
    found = _openpgp(fields, body, inline=inline)
    return found if found is not None and packets.is_encrypted_message(found) else None


def is_unprotected(fields: Iterable[Field], body: Body, *, inline: bool) -> bool:
    """Tell whether the outermost entity is an OpenPGP message without integrity, which nothing here opens."""
    fields = tuple(fields)
    if body.size > MAX_CIPHERTEXT:
        return False
    found = _openpgp(fields, body, inline=inline)
    return found is not None and packets.is_encrypted_message(found, packets.UNPROTECTED)


def _openpgp(fields: tuple[Field, ...], body: Body, *, inline: bool) -> bytes | None:
    """Give what the outermost entity has of OpenPGP, without its armor; None where it has nothing."""
    media = media_type(fields)
    if media == b"multipart/encrypted":
        found = _encrypted_part(fields, body)
    elif inline and media == b"text/plain":
        found = decoded(fields, body.read())
    else:
        return None
    return None if found is None else packets.dearmor(found)


def is_encrypted(fields: Iterable[Field], body: Body) -> bool:
    """Tell whether the message is truly encrypted: OpenPGP packets or an enveloped CMS, and nothing beside it."""
    return ciphertext(fields, body, inline=True) is not None


def open_entity(plaintext: Body, directory: Path | None = None) -> tuple[tuple[Field, ...], Body]:
    """
    Take a decrypted MIME entity apart: its Content-* fields, and its body with CRLF line ends.

    Bare CR and LF become CRLF, so that nothing inside can end the message at the next mail server; fields other
    than Content-* are dropped. Where the header is not well-formed, ambiguous, above 1 MiB, or has no Content-*
    field, the whole is given as plain text: no mail program then runs or loads what it finds in there. A large
    body is spooled in `directory`.
    """
    pieces = _with_crlf(plaintext.chunks())
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) > _MAX_HEADER:
            break
    following = next(pieces, b"")
    fields, rest = _opened(bytes(head), more=bool(following))
    body = Spool(directory)
    for piece in itertools.chain((rest, following), pieces):
        body.write(piece)
    return fields, body


def _with_crlf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Make every bare CR and LF a CRLF."""
    held = b""  # a CR at the end of a piece, whose LF may begin the next
    for piece in pieces:
        data = held + piece
        held = b"\r" if data.endswith(b"\r") else b""
        if text := data[: len(data) - len(held)]:
            # counting is cheap, and most mail is as it should be
            regular = text.count(b"\r\n") == text.count(b"\n") == text.count(b"\r")
            yield text if regular else _LINE_END.sub(b"\r\n", text)
    if held:
        yield b"\r\n"


def _opened(data: bytes, *, more: bool) -> tuple[tuple[Field, ...], bytes]:
    """Take the beginning of an entity apart, which is all of it unless there is more."""
    has_header = data.startswith(b"\r\n") or b"\r\n\r\n" in data
    found = mime.split_entity(data) if has_header or not more else None
    if found is None:
        return (_UNKNOWN,), data
    fields = tuple(field for field in found[0] if is_content(field))
    kinds = sum(field.key == b"content-type" for field in fields)
    if kinds > 1 or (found[0] and not fields):
        return (_UNKNOWN,), data
    return (fields if kinds else (*fields, _DEFAULT)), found[1]


def media_type(fields: tuple[Field, ...]) -> bytes:
    """Give the media type in lower case, `text/plain` where there is none; empty where it is not well-formed."""
    if not any(field.key == b"content-type" for field in fields):
        return b"text/plain"
    found = mime.content_type(fields)
    return found.media if found else b""


def _encrypted_part(fields: tuple[Field, ...], body: Body) -> bytes | None:
    """
    Find the encrypted part (RFC 3156 section 4): the second of two, behind one that says `Version: 1`.

    A large body is held no more often than must be: whole, then its parts, then the content of one.
    """
    kind = mime.content_type(fields)
    if kind is None or kind.parameters.get(b"protocol", b"").lower() != b"application/pgp-encrypted":
        return None
    found = mime.split(body.read(), kind.parameters.get(b"boundary", b""), _PARTS)
    if found is None or len(found.parts) != _PARTS or not _is_bare(found):
        return None
    parts = [*found.parts]
    del found
    message = mime.split_entity(parts.pop())
    control = mime.split_entity(parts.pop())
    if control is None or message is None or control[1].strip().lower() != b"version: 1":
        return None
    return decoded(*message)


def _is_bare(found: mime.Multipart) -> bool:
    """Tell whether nothing that a reader might see stands around the parts."""
    return len(found.preamble) <= _MAX_PREAMBLE and not found.epilogue.strip()


def decoded(fields: tuple[Field, ...], body: bytes) -> bytes | None:
    """Undo the transfer encoding: mail servers on the way may have put one on."""
    encoding = mime.transfer_encoding(fields)
    if encoding in {b"7bit", b"8bit", b"binary"}:
        return body
    if encoding == b"quoted-printable":
        return quopri.decodestring(body)
    return packets.from_base64(body) if encoding == b"base64" else None
