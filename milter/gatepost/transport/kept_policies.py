"""
MTA-STS policies kept from the last good fetch, and the port that keeps them.

A policy is kept as the text that was fetched, so that it is read again by the same rules. It counts until its
`max_age` after `fetched` ends (RFC 8461 section 3.2), whatever DNS and the policy host say in between.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """
    The last good policy of one domain.

    `domain` is in lower case as A-labels, `id` that of the TXT record it was fetched for (up to 32 letters and
    digits), `text` the file as it came (up to 64 KiB), `fetched` an aware time, `max_age` in seconds.
    """

    domain: str
    id: str
    text: str
    fetched: datetime
    max_age: int

    @property
    def until(self) -> datetime:
        """When it ceases to count."""
        return self.fetched + timedelta(seconds=self.max_age)


class KeptPolicies(Protocol):
    """Keeps one policy a domain. Thread-safe and blocking; raises StorageError."""

    def get(self, domain: str) -> KeptPolicy | None:
        """Give the policy kept for a domain, one that has ceased to count too, or None."""

    def put(self, policy: KeptPolicy) -> None:
        """Keep a policy in place of the domain's former one, unless that was fetched later."""


class NoPolicies:
    """Keeps nothing: every policy is fetched anew."""

    def get(self, domain: str) -> None:
        """Give nothing."""

    def put(self, policy: KeptPolicy) -> None:
        """Drop it."""
