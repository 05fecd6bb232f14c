"""
An entry of the journal: one message's plan, how far each recipient's copy is, and who works on it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from gatepost.decision.plan import Plan


class State(StrEnum):
    """How far one recipient's copy is."""

    PENDING = "pending"
    SENDING = "sending"  # being submitted; found so later, nobody knows whether it was taken
    SUBMITTED = "submitted"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one recipient's copy is; `queue_id` tells what it became, `repeated` that it may go twice."""

    state: State = State.PENDING
    queue_id: str = ""
    repeated: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing more is to do for this recipient."""
        return self.state in {State.SUBMITTED, State.HELD}


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One message's plan and the progress of each of its judgements; `settled` once the verdict was given.

    Keys in the plan have a fingerprint but no certificate when the entry comes from a store.
    """

    key: bytes
    id: UUID
    queue_id: str
    plan: Plan
    progress: tuple[Progress, ...]
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on an entry: a milter by its name, one of its tries by `claim`, until a point in time."""

    holder: str
    claim: UUID
    until: datetime


class JournalStore(Protocol):
    """Keeps entries. Thread-safe; raises StorageError."""

    def find(self, key: bytes) -> Entry | None:
        """Look an entry up."""

    def add(self, entry: Entry, lease: Lease, at: datetime, *, over_settled: bool) -> bool:
        """Write an entry, in the place of a settled one if allowed; False, and nothing done, if one is there."""

    def claim(self, key: bytes, lease: Lease, at: datetime) -> bool:
        """Take the lease; False if another's is not over yet."""

    def save(self, entry: Entry, lease: Lease, at: datetime) -> bool:
        """Write what an entry has become; False, and nothing done, if the lease is another's by now."""

    def free(self, holder: str, at: datetime) -> None:
        """End every lease of a holder."""

    def purge(self, settled_before: datetime, others_before: datetime) -> int:
        """Delete entries last written before these times; gives their number."""
