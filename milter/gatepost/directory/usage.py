"""
How mail that had to be protected went, domain by domain: the evidence for a change of the partner table.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DomainUse:
    """
    One domain's copies of mail that had to be protected, whether by tag, by rule or by conversation.

    Of `protected`, all of them, `enveloped` went as an envelope, a PDF or to the portal, `held` to quarantine, and
    `by_tls` over assured TLS.
    """

    domain: str
    protected: int
    enveloped: int
    held: int
    by_tls: int


class Usage(Protocol):
    """Counts. Raises StorageError."""

    def by_domain(self, since: datetime) -> tuple[DomainUse, ...]:
        """Count the copies for outside recipients since then, the domain with the most first."""
