"""
Keys of partners and of the site: OpenPGP keys and X.509 certificates, under an address or a domain.

A key is looked up by exact address, then lower case, then without `+tag`, then by domain; a recipient's own key
comes before its domain's. Of several keys of our own under one owner the one that came last stands for it; the
others still open old mail.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from gatepost.message.address import Address


class Trust(IntEnum):
    """Where a key came from; the higher, the better known to be its owner's."""

    HARVESTED = 1
    KEYSERVER = 2
    CA = 3
    WKD = 4
    DNSSEC = 5
    ADMIN = 6


@dataclass(frozen=True, slots=True)
class Key:
    """
    One key under one owner: public half as binary OpenPGP or DER; times in UTC.

    `owner` is an address or a domain, as looked up. `own` tells that the site holds the private half.
    `capabilities` are SMIMECapabilities in DER, as the last mail with its valid signature announced them.
    `added` is when it came.
    """

    fingerprint: str
    kind: str  # "openpgp" or "smime"
    owner: str
    certificate: bytes
    trust: Trust
    own: bool = False
    expires: datetime | None = None
    source: str = ""
    capabilities: bytes = b""
    added: datetime | None = field(default=None, compare=False)


def current(keys: Iterable[Key], now: datetime) -> frozenset[tuple[str, str]]:
    """
    Name those keys of our own that stand for their owner, by fingerprint and owner: they are given to partners.

    Of each kind that is the one that came last, among those that have not expired.
    """
    latest: dict[tuple[str, str], Key] = {}
    for key in sorted(keys, key=lambda one: (one.added.timestamp() if one.added else 0.0, one.fingerprint)):
        if key.own and (key.expires is None or key.expires > now):
            latest[key.owner, key.kind] = key
    return frozenset((key.fingerprint, key.owner) for key in latest.values())


def owners(address: Address) -> tuple[str, ...]:
    """Name the owners that an address's key may be found under, best first."""
    exact = address.text
    lower = exact.lower()
    untagged = f"{address.local.lower().partition('+')[0]}@{address.domain}"
    return tuple(dict.fromkeys((exact, lower, untagged, address.domain)))


class Keys(Protocol):
    """Looks keys up. Thread-safe; an edit of the table is seen within 5 s; raises StorageError."""

    def find(self, address: Address, kind: str) -> tuple[Key, ...]:
        """Give the keys of that kind for the address, best owner first."""

    def any_own(self) -> bool:
        """Tell whether the site holds the private half of any key."""


class Announced(Protocol):
    """Notes what correspondents can read. Raises StorageError."""

    def note(self, fingerprint: str, capabilities: bytes) -> None:
        """Keep the SMIMECapabilities, in DER, of a mail with a valid signature by the key of that fingerprint."""


def may_sign(key: Key, author: Address, sender: Address) -> bool:
    """
    Tell whether a key of ours may sign what its author, the single address in From, and its envelope sender are
    given for: an address's key only where both are that address, a domain's only where both are of that domain.
    """
    found = owners(author)
    if not key.own or key.owner not in found or author.domain != sender.domain:
        return False
    return key.owner == author.domain or bool({*found[:-1]} & {*owners(sender)[:-1]})
