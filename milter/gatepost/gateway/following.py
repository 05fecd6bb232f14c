"""
Following: what the mail server's log tells of protected copies goes into the record of events.

Rules:
  * The log is the durable queue: what was read counts once its events, what became of the copies, and the place in
    the log are written, all in one transaction. So a restart loses nothing and writes nothing twice.
  * Recorded decisions are followed in the order of their host's chain, and read before the lines that may tell of
    their copies.
  * A copy may be delivered before its decision is recorded: its message is still being worked on, or put off. Its
    lines are kept until the record is there.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gatepost.directory.event import Event, Recorded
from gatepost.gateway.delivery import Copy, Delivery, advanced, concerned, copy_of, queue_ids_of

_AT_ONCE = 2000  # decisions
_SAVED_AGAIN = 60.0  # seconds after which the place is kept, though nothing was logged: a sign of life, too
_MOST_REMEMBERED = 20_000  # queue IDs of mail that is none of ours


class Log(Protocol):
    """The mail server's log. For one thread alone."""

    def begin(self, place: str) -> None:
        """Go on from a place; an empty one is the end of what is there."""

    def read(self) -> Sequence[Delivery]:
        """Give the deliveries that were logged since, without waiting; raises LogError."""

    @property
    def place(self) -> str:
        """Where the next reading begins."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far one host's log was followed, and its chain of recorded decisions."""

    place: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What is written at once; `heard` are queue IDs whose kept deliveries are not needed any more."""

    events: tuple[Event, ...] = ()
    copies: tuple[Copy, ...] = ()
    kept: tuple[Delivery, ...] = ()
    heard: tuple[str, ...] = ()


_NOTHING = Change()


class DeliveryStore(Protocol):
    """Keeps one host's copies and position. For one thread alone; raises StorageError."""

    def position(self) -> Position | None:
        """Tell where following goes on; None if it never began."""

    def latest(self) -> int:
        """Give the sequence of the host's latest recorded decision."""

    def decisions(self, after: int, most: int) -> Sequence[Recorded]:
        """Give the host's recorded decisions beyond a sequence, in order."""

    def copies(self, queue_ids: Iterable[str]) -> Sequence[Copy]:
        """Give the copies that are known under these queue IDs."""

    def decided(self, queue_ids: Iterable[str]) -> frozenset[str]:
        """Give those of these queue IDs under which a decision is recorded."""

    def kept(self, queue_ids: Iterable[str]) -> Sequence[Delivery]:
        """Give the deliveries that were kept for copies of these queue IDs, in order."""

    def write(self, change: Change, before: Position | None, after: Position) -> None:
        """Write all of it or nothing; raises StorageError too where another process has moved the position."""


class Follower:
    """
    Follows one host's log. For one thread alone.

    `look` and `note` take turns; whatever fails, following begins again at the place that is stored.
    """

    def __init__(self, *, log: Log, store: DeliveryStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._store = store
        self._clock = clock
        self._stored: Position | None = None
        self._saved = 0.0
        self._sequence = 0
        self._begun = False
        self._read: Sequence[Delivery] = ()
        self._foreign: dict[str, None] = {}

    def look(self) -> int:
        """Read what was logged, and give how many deliveries there are; raises LogError, StorageError."""
        if not self._begun:
            self._begin()
        if not self._read:
            self._read = self._log.read()
        return len(self._read)

    def note(self) -> int:
        """Record what was read, and give how many events that made; raises StorageError."""
        if not self._begun:
            return 0
        try:
            return self._note()
        except BaseException:
            self._begun, self._read = False, ()
            raise

    def close(self) -> None:
        """Keep the place, so that the next process begins there; raises StorageError."""
        if self._begun and not self._read:
            self._save(_NOTHING, self._sequence)

    def _begin(self) -> None:
        self._stored = self._store.position()
        self._sequence = self._store.latest() if self._stored is None else self._stored.sequence
        self._log.begin("" if self._stored is None else self._stored.place)
        self._foreign.clear()
        self._begun = True

    def _note(self) -> int:
        decisions = self._store.decisions(self._sequence, _AT_ONCE)
        sequence = decisions[-1].sequence if decisions else self._sequence
        if len(decisions) == _AT_ONCE:  # the lines wait until all decisions are known
            change, place = self._change(decisions, ()), "" if self._stored is None else self._stored.place
        else:
            change, place = self._change(decisions, self._read), self._log.place
            self._read = ()
        if change != _NOTHING or self._stored is None or self._clock() > self._saved + _SAVED_AGAIN:
            self._save(change, sequence, place)
        self._sequence = sequence
        return len(change.events)

    def _change(self, decisions: Sequence[Recorded], deliveries: Sequence[Delivery]) -> Change:
        if not decisions and not deliveries:
            return _NOTHING
        new = [copy for one in decisions if (copy := copy_of(one.event)) is not None]
        named = {name for one in decisions for name in queue_ids_of(one.event)}
        for one in new:
            self._foreign.pop(one.queue_id, None)
        earlier = self._store.kept(named) if named else ()
        copies = self._known({*named, *(one.queue_id for one in deliveries)}, new)
        self._remember(name for name in named if name not in copies)
        work = _Work(copies, new)
        for delivery in (*earlier, *deliveries):
            work.deliver(delivery)
        strays = self._strays([one for one in deliveries if one.queue_id not in copies])
        heard = dict.fromkeys(one.queue_id for one in earlier)
        return Change(tuple(work.events), work.changed, tuple(strays), tuple(heard))

    def _known(self, names: set[str], new: Sequence[Copy]) -> dict[str, list[Copy]]:
        """Give all copies by queue ID; what is stored of one wins over what its decision says again."""
        copies: dict[str, dict[str, Copy]] = {}
        for one in (*new, *self._store.copies(names - self._foreign.keys())):
            copies.setdefault(one.queue_id, {})[one.recipient] = one
        return {name: list(found.values()) for name, found in copies.items()}

    def _strays(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Give those deliveries whose decision is not recorded yet; mail that was passed is told by its own."""
        unknown = [one for one in deliveries if one.queue_id not in self._foreign]
        decided = self._store.decided({one.queue_id for one in unknown}) if unknown else frozenset()
        self._remember(decided)
        return [one for one in unknown if one.queue_id not in decided]

    def _remember(self, names: Iterable[str]) -> None:
        self._foreign.update(dict.fromkeys(names))
        while len(self._foreign) > _MOST_REMEMBERED:
            del self._foreign[next(iter(self._foreign))]

    def _save(self, change: Change, sequence: int, place: str | None = None) -> None:
        after = Position(self._log.place if place is None else place, sequence)
        self._store.write(change, self._stored, after)
        self._stored, self._saved = after, self._clock()


class _Work:
    """Deliveries applied to copies, one after the other."""

    def __init__(self, copies: Mapping[str, list[Copy]], new: Sequence[Copy]) -> None:
        self._copies = copies
        self._changed = {(one.queue_id, one.recipient): one for one in new}
        for found in copies.values():
            for one in found:
                key = (one.queue_id, one.recipient)
                if key in self._changed:
                    self._changed[key] = one
        self.events: list[Event] = []

    @property
    def changed(self) -> tuple[Copy, ...]:
        """The copies that are to be written."""
        return tuple(self._changed.values())

    def deliver(self, delivery: Delivery) -> None:
        """Apply one delivery to the copies that it is about."""
        found = self._copies.get(delivery.queue_id, [])
        for copy in concerned(found, delivery):
            after, event = advanced(copy, delivery)
            found[found.index(copy)] = after
            if after != copy:
                self._changed[after.queue_id, after.recipient] = after
            if event is not None:
                self.events.append(event)
