"""
The journal: what was done of a plan, so that a retry finishes it and does nothing twice.

A message of which something is submitted or held before the verdict has an entry: its plan, and how far each
recipient's copy is. Rules:
  * The entry is durable before the first copy goes, and each step before the next begins.
  * A message is known again by its key (see `identity`).
  * Who works on an entry holds its lease; another try meanwhile is put off. A lease ends with the time that a
    message may take, or when the milter that held it starts anew.
  * Once the verdict was given, an entry stands for a retry only if the message brought a Message-ID of its own:
    without one, equal messages may be two.
  * A copy of which it is not known whether it was taken, since the reply to its final dot was lost (RFC 1047),
    goes once more and is recorded as a possible duplicate.
  * A release from quarantine has an entry too, known by the held copy's name and never settled: each try decides
    anew, and what earlier tries did of each recipient stays known.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4, uuid5

from gatepost.decision.plan import Judgement, Plan
from gatepost.directory.event import POSSIBLE_DUPLICATE
from gatepost.errors import DeliveryError, GatepostError
from gatepost.gateway.budget import Budget
from gatepost.gateway.entry import Entry, JournalStore, Lease, Progress, State
from gatepost.gateway.identity import has_own_id, key_of
from gatepost.log import logger
from gatepost.message.transaction import Recipient, Transaction

_SETTLED_KEPT = timedelta(days=1)
_KEPT = timedelta(days=7)  # longer than a client tries
_MARGIN = timedelta(seconds=60)  # two hosts' clocks may differ


class Journal:
    """Opens a try for each message. Thread-safe."""

    def __init__(
        self, store: JournalStore, *, holder: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Take the name of this milter, which no other that runs may bear."""
        self._store = store
        self._holder = holder
        self._clock = clock

    def attempt(self, transaction: Transaction, budget: Budget, *, inside: bool) -> "Attempt":
        """Give one try of a message; nothing is read or written yet. `inside` tells who handed it in."""
        return Attempt(self._store, self._holder, self._clock, transaction, budget, inside=inside)

    def release(self, name: UUID, transaction: Transaction, budget: Budget) -> "Attempt":
        """Give one try of releasing the held copy of that name; nothing is read or written yet."""
        key = hashlib.sha256(b"gatepost release " + name.bytes).digest()
        return Attempt(self._store, self._holder, self._clock, transaction, budget, inside=True, key=key)

    def part(self, transaction: Transaction, number: int, budget: Budget) -> "Attempt":
        """Give one try of what is made of a part of a message from inside; nothing is read or written yet."""
        key = hashlib.sha256(b"gatepost part " + key_of(transaction, inside=True) + number.to_bytes(8)).digest()
        return Attempt(self._store, self._holder, self._clock, transaction, budget, inside=True, key=key)

    def free(self) -> None:
        """End the leases that this milter held before it was started anew; raises StorageError."""
        self._store.free(self._holder, self._clock())

    def purge(self) -> int:
        """Delete what no retry can need any more; gives the number of entries."""
        now = self._clock()
        return self._store.purge(now - _SETTLED_KEPT, now - _KEPT)


class Attempt:
    """
    One try of one message, in one thread; leaving it gives the lease back.

    Without `begin`, nothing is ever written: a message that leaves as one copy in place costs nothing.
    """

    def __init__(
        self,
        store: JournalStore,
        holder: str,
        clock: Callable[[], datetime],
        transaction: Transaction,
        budget: Budget,
        *,
        inside: bool,
        key: bytes = b"",
    ) -> None:
        self._store = store
        self._holder = holder
        self._clock = clock
        self._transaction = transaction
        self._budget = budget
        self._inside = inside
        self._key = key
        self._over_settled = False
        self._stored: Entry | None = None  # as the store has it
        self._entry: Entry | None = None  # as it will be saved
        self._lease: Lease | None = None

    def find(self) -> Entry | None:
        """
        Give what an earlier try did, and take its lease.

        Raises DeliveryError while another try is under way, StorageError.
        """
        self._key = self._key or key_of(self._transaction, inside=self._inside)
        found = self._store.find(self._key)
        if found is None:
            return None
        if found.settled and not has_own_id(self._transaction):
            self._over_settled = True
            return None
        lease = self._new_lease()
        if not self._store.claim(self._key, lease, self._clock()):
            raise _other_try()
        self._lease = lease
        self._stored = self._store.find(self._key)
        if self._stored is None:
            raise _other_try()
        self._entry = _taken_up(self._stored)
        return self._entry

    def begin(self, plan: Plan) -> None:
        """Note the plan that is carried out, durably, before any of it is; raises DeliveryError, StorageError."""
        if not self._key:
            raise RuntimeError("an entry is begun only where an earlier one was looked for")
        known = dict(self._pairs())
        progress = tuple(
            known.get(one.recipient, Progress(repeated=self._over_settled)) for one in plan.judgements
        )
        if self._entry is None:
            self._entry = Entry(self._key, uuid4(), self._transaction.queue_id, plan, progress)
        else:
            self._entry = replace(self._entry, plan=plan, progress=progress, settled=False)
        self.save()

    @property
    def noted(self) -> bool:
        """Whether the journal knows of the message."""
        return self._entry is not None

    def mark(self, recipients: Iterable[Recipient], state: State, queue_id: str = "") -> None:
        """Note how far these recipients' copies are; durable with the next `save`."""
        if self._entry is None:
            return
        marked = set(recipients)
        progress = (
            replace(before, state=state, queue_id=queue_id) if recipient in marked else before
            for recipient, before in self._pairs()
        )
        self._entry = replace(self._entry, progress=tuple(progress))

    def save(self) -> None:
        """Make what was noted durable; raises StorageError, and DeliveryError if the lease was lost."""
        if self._entry is None or self._entry == self._stored:
            return
        if self._lease is None:
            lease = self._new_lease()
            done = self._store.add(self._entry, lease, self._clock(), over_settled=self._over_settled)
        else:
            lease = self._lease
            done = self._store.save(self._entry, lease, self._clock())
        if not done:
            self._lease = None
            raise _other_try()
        self._lease, self._stored = lease, self._entry

    def settle(self) -> None:
        """Note that the verdict is given now, and give the lease back."""
        if self._entry is not None:
            self._entry = replace(self._entry, settled=True)
            self._give_back()

    def with_earlier(self, plan: Plan) -> Plan:
        """Add the recipients of earlier tries that a plan does not name, so that their progress stays known."""
        named = {one.recipient for one in plan.judgements}
        earlier = () if self._entry is None else self._entry.plan.judgements
        return replace(
            plan, judgements=(*plan.judgements, *(one for one in earlier if one.recipient not in named))
        )

    def submitted(self) -> tuple[Judgement, ...]:
        """Give the judgements of those whose copies were taken, by this try or an earlier one."""
        if self._entry is None:
            return ()
        pairs = zip(self._entry.plan.judgements, self._entry.progress, strict=True)
        return tuple(judgement for judgement, progress in pairs if progress.state is State.SUBMITTED)

    def repeated(self) -> frozenset[Recipient]:
        """Give those who may get, or have got, their copy twice."""
        return frozenset(recipient for recipient, progress in self._pairs() if progress.repeated)

    def name_of_copy(self, recipients: Sequence[Recipient]) -> UUID:
        """Name a held copy: each try gives it the same name, so it is held once."""
        if self._entry is None:
            raise RuntimeError("a copy is held only under an entry")
        return uuid5(self._entry.id, repr([(one.address.raw, one.parameters, one.alias) for one in recipients]))

    def details(self) -> dict[Recipient, dict[str, object]]:
        """Tell in an event's words what became of each recipient's copy."""
        return {recipient: _detail(progress) for recipient, progress in self._pairs()}

    def _pairs(self) -> Iterable[tuple[Recipient, Progress]]:
        if self._entry is None:
            return ()
        recipients = (one.recipient for one in self._entry.plan.judgements)
        return zip(recipients, self._entry.progress, strict=True)

    def _new_lease(self) -> Lease:
        until = self._clock() + timedelta(seconds=self._budget.for_waiting()) + _MARGIN
        return Lease(self._holder, uuid4(), until)

    def _give_back(self) -> None:
        """Write what was noted, and let the next try begin at once."""
        if self._lease is not None and self._entry is not None:
            now = self._clock()
            kept = self._store.save(self._entry, replace(self._lease, until=now), now)
            self._lease = None
            if not kept:
                raise _other_try()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._give_back()
        except GatepostError as fault:  # the lease runs out by itself
            logger.warning("a lease was not given back", queue_id=self._transaction.queue_id, cause=str(fault))


def _taken_up(entry: Entry) -> Entry:
    """Give an entry as a new try finds it: whatever may have been taken goes once more, and says so."""
    return replace(entry, progress=tuple(_again(one, settled=entry.settled) for one in entry.progress))


def _again(progress: Progress, *, settled: bool) -> Progress:
    if progress.state is State.SENDING or (settled and not progress.done):
        return Progress(repeated=True)
    return progress


def _detail(progress: Progress) -> dict[str, object]:
    queued: dict[str, object] = {"queued_as": progress.queue_id} if progress.queue_id else {}
    return queued | ({POSSIBLE_DUPLICATE: True} if progress.repeated else {})


def _other_try() -> DeliveryError:
    return DeliveryError("another try of the same message is under way; the next one finds what it did")
