"""
Captured mail is not opened for whoever captured it: a message belongs to the author who first brought it.

Its key-exchange packets and its content are remembered, with the author, before anything is decrypted. The same
under another author is a replay, whatever else was changed and whomever it is for: opened, it would go out again
with the first answer. Of two that come at the same time one is first. What was remembered is never forgotten: a
message can be replayed as long as there is a key that opens it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from gatepost.crypto import key_exchange
from gatepost.directory.exchange import AddresseeRow, ExchangeRow, hashed
from gatepost.message.address import Address
from gatepost.message.author import author
from gatepost.message.body import Body
from gatepost.message.field import Field, named, unfold
from gatepost.message.transaction import Recipient

_MOST = 2000  # key exchanges of a message; nobody has so many recipients here
_REPLIES = (b"reply-to", b"mail-reply-to", b"mail-followup-to")


class ExchangeLog(Protocol):
    """Remembers exchanges. Thread-safe; raises StorageError."""

    def add(self, exchanges: Sequence[ExchangeRow], addressees: Sequence[AddresseeRow]) -> None:
        """Write rows; gives control back once they are durable. A digest that is there keeps its first author."""

    def is_anothers(self, exchanges: Sequence[ExchangeRow]) -> bool:
        """Tell whether any of these digests is there with another author."""

    def addressees(self, exchanges: Sequence[ExchangeRow]) -> frozenset[bytes] | None:
        """
        Give the recipients, hashed, for whom the message whose content the first digest names came in.

        None where not one of the digests is there.
        """


class Exchanges:
    """Knows encrypted messages again. Thread-safe."""

    def __init__(self, log: ExchangeLog) -> None:
        self._log = log

    def is_replayed(self, ciphertext: Body, fields: Iterable[Field], recipients: Iterable[Recipient]) -> bool:
        """
        Remember an encrypted message for its recipients, durably; tell whether another author brought it first.

        `fields` are the message's own, in which the author stands. A message with more key exchanges than anybody
        needs counts as replayed. Raises StorageError.
        """
        exchanges = _exchanges(ciphertext, fields)
        if not 0 < len(exchanges) <= _MOST:
            return True
        content = exchanges[0]
        addressees = dict.fromkeys(
            AddresseeRow(content.digest, content.author, hashed(address.text))
            for one in recipients
            for address in _addresses(one)
        )
        self._log.add(exchanges, tuple(addressees))
        return self._log.is_anothers(exchanges)

    def was_for(self, ciphertext: Body, fields: Iterable[Field], address: Address) -> bool | None:
        """
        Tell whether an encrypted message came in for that address; None where it never came in.

        One whose content was changed did not come in for anybody. Nothing is written. Raises StorageError.
        """
        exchanges = _exchanges(ciphertext, fields)
        addressees = self._log.addressees(exchanges) if exchanges else None
        return None if addressees is None else hashed(address.text) in addressees


def _exchanges(ciphertext: Body, fields: Iterable[Field]) -> tuple[ExchangeRow, ...]:
    origin = _origin(fields)
    return tuple([ExchangeRow(name, origin) for name in key_exchange.names(ciphertext.read())])


def _addresses(recipient: Recipient) -> tuple[Address, ...]:
    """Give all addresses by which one recipient may be known later."""
    given = (recipient.alias,) if recipient.alias is not None else ()
    return (*given, recipient.address, *recipient.targets)


def _origin(fields: Iterable[Field]) -> bytes:
    """
    Hash who a message is from: the author, else the From fields as they stand, and where answers are to go.

    With another Reply-To a captured message would come back to whoever captured it, under the first author's name.
    """
    fields = tuple(fields)
    who = author(fields).lower().encode("utf-8", "surrogateescape")
    parts = [b"author", who] if who else [b"from", *(one.value for one in named(fields, b"from"))]
    for name in _REPLIES:
        parts += [b" ".join((name, *unfold(one.value).lower().split())) for one in named(fields, name)]
    return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()
