"""
The messages that stand in another one: forwarded as attachments, whole.

A text that a mail program quotes is no message any more: its content and its encryption are gone.
"""

import re
from collections.abc import Iterable, Iterator
from quopri import decodestring

from gatepost.crypto import packets
from gatepost.message import mime
from gatepost.message.field import Field, named, unfold

_MESSAGES = frozenset({b"message/rfc822", b"message/global"})
_MULTIPART = b"multipart/"
_FILE = re.compile(rb"(?i)name\*?[0-9*]*\s*=\s*[^;]*\.eml\b")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MOST_PARTS = 100
_DEEPEST = 5

Entity = tuple[tuple[Field, ...], bytes]


def attached(fields: Iterable[Field], body: bytes) -> tuple[Entity, ...]:
    """
    Give the messages attached to a message, each as its header fields and its body with CRLF line ends.

    They are entities of type message/rfc822, or files whose names end in `.eml`, at most five levels deep and not
    inside one another. One whose header is not well-formed has no fields, and its whole text as the body.
    """
    return tuple(_attached(tuple(fields), body, _DEEPEST))


def _attached(fields: tuple[Field, ...], body: bytes, levels: int) -> Iterator[Entity]:
    kind = mime.content_type(fields)
    if kind is None or not levels:
        return
    if kind.media in _MESSAGES or _is_file(fields):
        yield _message(fields, body)
    elif kind.media.startswith(_MULTIPART):
        found = mime.split(body, kind.parameters.get(b"boundary", b""), _MOST_PARTS)
        for part in found.parts if found is not None else ():
            entity = mime.split_entity(part)
            if entity is not None:
                yield from _attached(*entity, levels - 1)


def _is_file(fields: tuple[Field, ...]) -> bool:
    """Tell whether it is attached under the name of a message's file."""
    return any(
        _FILE.search(unfold(field.value))
        for name in (b"content-disposition", b"content-type")
        for field in named(fields, name)
    )


def _message(fields: tuple[Field, ...], body: bytes) -> Entity:
    encoding = mime.transfer_encoding(fields)
    if encoding == b"base64":
        body = packets.from_base64(body) or b""
    elif encoding == b"quoted-printable":
        body = decodestring(body)
    text = _LINE_END.sub(b"\r\n", body)
    return mime.split_entity(text) or ((), text)
