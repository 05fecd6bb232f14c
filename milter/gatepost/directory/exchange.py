"""
Which encrypted messages came in, and under whose name: what makes a captured one known when it comes again.

Only digests are kept, so the tables tell nobody who wrote to whom.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExchangeRow:
    """One named part of an encrypted message (`crypto.key_exchange`), and the author who first brought it."""

    digest: bytes
    author: bytes


@dataclass(frozen=True, slots=True)
class AddresseeRow:
    """One recipient for whom an author's message came in; `digest` names its encrypted content."""

    digest: bytes
    author: bytes
    recipient: bytes  # SHA-256, see `hashed`


def hashed(address: str) -> bytes:
    """Hash an address; its case makes no difference."""
    return hashlib.sha256(address.lower().encode("utf-8", "surrogateescape")).digest()
