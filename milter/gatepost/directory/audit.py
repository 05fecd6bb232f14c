"""
The audit: a host's events and stamps are held against each other, and every difference is named.

Pure but for what it is given to read: the record as of one moment, and a question to whoever can tell whether a
code is right. A difference is named by the first event that it concerns.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gatepost.directory.stamp import NOTHING, Stamp

Fault = Literal["changed", "removed", "inserted", "moved", "cut"]
MOST = 100  # differences that are told one by one


@dataclass(frozen=True, slots=True)
class Place:
    """One event as it stands in the table: its sequence and its digest."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """One difference; `sequence` is the event's, or that of the first event concerned."""

    fault: Fault
    host: str
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What the audit of one host's chain has found: the first differences, and how many there are in all."""

    host: str
    events: int
    stamps: int
    unstamped: int
    breaks: tuple[Break, ...]
    broken: int


class Chains(Protocol):
    """Hosts' events and stamps as of one moment; what its methods raise is passed on."""

    def latest_purge(self, host: str) -> Stamp | None:
        """Give the stamp that tells of the latest purge."""

    def stamps(self, host: str) -> Iterator[Sequence[Stamp]]:
        """Give the stamps in order, some at a time."""

    def places(self, host: str, after: int | None, last: int | None) -> Iterator[Place]:
        """Give the events by sequence, beyond `after` and up to `last`, where these are given."""


Prove = Callable[[Sequence[Stamp]], Sequence[bool]]
"""Tells of each stamp whether its code is right."""


def audit(host: str, chains: Chains, prove: Prove, head: int | None) -> Findings:
    """Audit one host's chain; `head` is the number of the last stamp that the key worker knows of, if it knows."""
    walk = _Walk(host, chains)
    purge = chains.latest_purge(host)
    if purge is not None and prove([purge])[0]:
        walk.number = purge.purged
    for stamps in chains.stamps(host):
        for stamp, proven in zip(stamps, prove(stamps), strict=True):
            walk.stamp(stamp, proven=proven)
    walk.rest()
    if head is not None and head > walk.number:
        walk.find(
            "cut", (walk.last or 0) + 1, f"stamps {walk.number + 1} to {head} and the events under them are gone"
        )
    return Findings(host, walk.events, walk.stamps, walk.unstamped, tuple(walk.breaks), walk.broken)


class _Walk:
    """Goes along one chain, in order."""

    def __init__(self, host: str, chains: Chains) -> None:
        self._host = host
        self._chains = chains
        self.number = 0  # of the stamp that was passed last
        self.last: int | None = None  # sequence that the stamps passed reach to; None: not known yet
        self._code: bytes | None = None
        self.events = self.stamps = self.unstamped = self.broken = 0
        self.breaks: list[Break] = []

    def find(self, fault: Fault, sequence: int, text: str) -> None:
        """Note a difference."""
        self.broken += 1
        if len(self.breaks) < MOST:
            self.breaks.append(Break(fault, self._host, sequence, text))

    def stamp(self, stamp: Stamp, *, proven: bool) -> None:
        """Pass one stamp and the events of its run."""
        if not proven:
            self.find(
                "changed", stamp.first, f"stamp {stamp.number} was not made by the key worker, or was changed"
            )
            return
        if stamp.number <= self.number:
            self.find("inserted", stamp.first, f"stamp {stamp.number} was deleted by expiry, and is here again")
            return
        self._link(stamp)
        self._run(stamp)
        self.number, self._code, self.last = stamp.number, stamp.code, stamp.last
        self.stamps += 1

    def _link(self, stamp: Stamp) -> None:
        """Compare a stamp with the one before it."""
        missing = stamp.number - self.number - 1
        if missing:
            first = 1 if self.last is None else self.last + 1
            self.find(
                "cut", first, f"{missing} stamps before stamp {stamp.number} are gone, and maybe their events"
            )
            return
        before = NOTHING if stamp.number == 1 else self._code
        if before is not None and stamp.previous != before:
            self.find("cut", stamp.first, f"stamp {stamp.number} does not follow the stamp before it")
        expected = 1 if stamp.number == 1 else None if self.last is None else self.last + 1
        if expected is not None and stamp.first > expected:
            self._removed(range(expected, stamp.first), "before it was stamped")

    def _run(self, stamp: Stamp) -> None:
        """Compare the events of a run, and what lies before it, with their digests."""
        digests = stamp.places()
        known = frozenset(digests.values())
        for place in self._chains.places(self._host, self.last, stamp.last):
            expected = digests.pop(place.sequence, None)
            self.events += 1
            if expected is None:
                self.find("inserted", place.sequence, "it is in no stamp, though later events are")
            elif expected != place.digest:
                if place.digest in known:
                    self.find("moved", place.sequence, "it stands in the place of another")
                else:
                    self.find("changed", place.sequence, "it is not as it was when it was stamped")
        self._removed(digests, f"it is in stamp {stamp.number}")

    def _removed(self, sequences: Iterable[int], text: str) -> None:
        numbers = sorted(sequences)
        if numbers:
            more = f", and {len(numbers) - 1} more up to {numbers[-1]}" if len(numbers) > 1 else ""
            self.find("removed", numbers[0], f"it is gone{more}; {text}")

    def rest(self) -> None:
        """Pass the events that no stamp covers yet: they follow each other without a gap."""
        expected = None if self.last is None and self.number else (self.last or 0) + 1
        for place in self._chains.places(self._host, self.last, None):
            if expected is not None and place.sequence > expected:
                self._removed(range(expected, place.sequence), "later ones are there")
            if place.sequence < (expected or place.sequence):
                self.find("inserted", place.sequence, "it stands before the first")
            expected = max(place.sequence + 1, expected or 0)
            self.events += 1
            self.unstamped += 1
