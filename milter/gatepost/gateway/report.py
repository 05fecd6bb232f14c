"""
Reports: a DSN or MDN about a protected message must not carry its content outside.

A report (RFC 3464, RFC 8098) may return the message that it is about. If that message belongs to a protected
conversation, it is cut to its header fields (RFC 6522 section 4) and the report goes. A report that cannot be
taken apart cleanly is treated like any other mail of that conversation; so is one with a sender, which standards
forbid: whoever writes with an address of their own may have put anything into it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gatepost.message import mime
from gatepost.message.body import Body, MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Transaction

_TYPES = frozenset({b"delivery-status", b"disposition-notification"})
_RETURNED = frozenset({b"message/rfc822", b"message/global"})
_HEADERS = b"Content-Type: text/rfc822-headers\r\n\r\n"
_KEPT = frozenset({b"text/plain", b"message/delivery-status", b"message/disposition-notification"}) | {
    b"message/global-delivery-status",
    b"message/global-disposition-notification",
    b"text/rfc822-headers",
    b"message/global-headers",
}
_MOST_PARTS = 8
_MOST_TEXT = 8 << 10  # octets: room for what a mail server explains, not for a quoted letter
_MESSAGE_ID = re.compile(
    rb"^(?:message-id|in-reply-to|references|resent-message-id|original-message-id)[ \t]*:"
    rb"((?:[^\r\n]|\r\n[ \t]){0,8000})",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Returned:
    """A report about a protected message: its body cut to header fields, or None where it cannot be cut."""

    cut: Body | None


def is_report(transaction: Transaction) -> bool:
    """Tell whether the message is a DSN or MDN, as far as its header says."""
    kind = mime.content_type(transaction.fields)
    return (
        kind is not None
        and kind.media == b"multipart/report"
        and kind.parameters.get(b"report-type", b"").lower() in _TYPES
    )


def named_in(body: bytes) -> tuple[Field, ...]:
    """Give the fields inside a report that name a Message-ID, wherever they stand in it."""
    return tuple(Field(b"References", match) for match in _MESSAGE_ID.findall(body))


def cut(fields: Iterable[Field], body: bytes) -> Body | None:
    """
    Cut a report's returned message to its header fields; everything else stays as it is.

    None where a part is neither text, status nor returned message, or cannot be taken apart, or is a text so long
    that it may quote the message: what it holds is then not known.
    """
    kind = mime.content_type(fields)
    boundary = b"" if kind is None else kind.parameters.get(b"boundary", b"")
    found = mime.split(body, boundary, _MOST_PARTS)
    if found is None or not found.parts:
        return None
    parts = [_cut_part(part) for part in found.parts]
    if any(part is None for part in parts):
        return None
    line = b"--" + boundary
    inner = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts if part is not None)
    return MemoryBody(inner + line + b"--\r\n")


def _cut_part(part: bytes) -> bytes | None:
    entity = mime.split_entity(part)
    if entity is None:
        return None
    fields, content = entity
    kind = mime.content_type(fields)
    media = b"text/plain" if kind is None and not fields else b"" if kind is None else kind.media
    if media == b"text/plain" and len(content) > _MOST_TEXT:
        return None
    if media in _KEPT:
        return part
    if media not in _RETURNED or mime.transfer_encoding(fields) not in {b"7bit", b"8bit", b"binary"}:
        return None
    returned = mime.split_entity(content)
    return None if returned is None else _HEADERS + b"".join(field.wire() for field in returned[0])
