"""
The thread table: which messages belong to a conversation that was protected.

Message-IDs are kept as SHA-256, so the table tells nobody what was written; a hit demands `encrypt`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """One protected message: its hashed Message-ID, who wrote with whom, and why it was protected."""

    message_id: bytes  # SHA-256 of the Message-ID with its angle brackets
    inside: str
    outside: str
    cause: str  # "protected", "decrypted" or "portal"


def hashed(message_id: str) -> bytes:
    """Hash one Message-ID, angle brackets included."""
    return hashlib.sha256(message_id.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Sent:
    """A message under way, by its own hashed Message-ID and its envelope sender."""

    message_id: bytes
    sender: str


class Threads(Protocol):
    """Looks threads up and writes them. Thread-safe; raises StorageError."""

    def known(self, message_ids: Iterable[bytes], *, sent: Sent | None = None) -> bool:
        """
        Tell whether any of these hashed Message-IDs is of a protected thread.

        Rows that an earlier try of the message `sent` left do not count.
        """
