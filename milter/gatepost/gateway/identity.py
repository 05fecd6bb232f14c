"""
A message's identity: what each of its tries has in common, and no other message has.

The key is a SHA-256 over who handed it in, envelope, header fields and body. What one try alone brings is left
out: a Message-ID that the mail server made from our own queue ID, with the last Date, which it made beside it, and
the queue ID wherever filters before us wrote it.
"""

import hashlib
import re
from collections.abc import Iterable

from gatepost.message.field import Field
from gatepost.message.transaction import Transaction

_DATE_BESIDE = {b"message-id": b"date", b"resent-message-id": b"resent-date"}


def key_of(transaction: Transaction, *, inside: bool) -> bytes:
    """Give a message's key; `inside` tells who handed it in, since what one may do for us, another may not."""
    digest = hashlib.sha256()

    def add(*parts: bytes) -> None:
        """Add a group of texts, each with its length, so that no two messages look alike."""
        digest.update(len(parts).to_bytes(8))
        for part in parts:
            digest.update(len(part).to_bytes(8) + part)

    add(b"inside" if inside else b"outside", *_octets([transaction.client.authenticated]))
    add(transaction.sender.raw, *_octets(transaction.parameters))
    for recipient in transaction.recipients:
        add(b"recipient", recipient.address.raw, *_octets(recipient.parameters))
    for field in _lasting(transaction):
        add(b"field", field.name, field.value)
    add(b"body")
    for chunk in transaction.body.chunks():
        digest.update(chunk)
    return digest.digest()


def has_own_id(transaction: Transaction) -> bool:
    """Tell whether the message brought a Message-ID of its own."""
    return any(field.key == b"message-id" for field in _lasting(transaction))


def _octets(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(one.encode("utf-8", "surrogateescape") for one in texts)


def _lasting(transaction: Transaction) -> tuple[Field, ...]:
    """Give the fields as every try shows them."""
    fields = transaction.fields
    queue_id = transaction.queue_id.encode("utf-8", "surrogateescape")
    if not queue_id:
        return fields
    # Postfix: <20260131235959.QUEUEID@host>, or <QUEUEID@host> where queue IDs are long; Sendmail: no seconds.
    made = re.compile(rb"\s*<(?:[0-9]{12,14}\.)?" + re.escape(queue_id) + rb"@[^<>\s]+>\s*")
    left_out: set[int] = set()
    for place, field in enumerate(fields):
        if field.key in _DATE_BESIDE and made.fullmatch(field.value):
            dates = [other for other, one in enumerate(fields) if one.key == _DATE_BESIDE[field.key]]
            left_out.update((place, *dates[-1:]))
    kept = (field for place, field in enumerate(fields) if place not in left_out)
    return tuple(Field(field.name, field.value.replace(queue_id, b"")) for field in kept)
