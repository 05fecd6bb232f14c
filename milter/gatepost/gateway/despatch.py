"""
Despatch: a plan is carried out, durable first.

What is held or submitted is noted in the journal first, so that a retry finishes it. Held copies go into the
vault; thread rows are committed; every other copy is submitted; then the original is edited for the one copy that
stays, or dropped where none may. Notices go last: a lost notice harms less than a second copy.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from gatepost.decision.demand import PROTECTING, Treatment
from gatepost.decision.plan import Copy, Judgement, Plan
from gatepost.directory.event import POSSIBLE_DUPLICATE, Record
from gatepost.directory.thread import ThreadRow, hashed
from gatepost.errors import DeliveryError, StorageError, WorkerError
from gatepost.gateway.budget import Budget
from gatepost.gateway.entry import State
from gatepost.gateway.journal import Attempt
from gatepost.gateway.metrics import Metrics, NoMetrics
from gatepost.gateway.notices import Notice
from gatepost.gateway.record import MessageRecord
from gatepost.gateway.result import Result
from gatepost.gateway.submission import Submitter, submission_of
from gatepost.gateway.telling import Telling
from gatepost.gateway.verdict import Accept, Awaited, Discard, Verdict
from gatepost.message.address import NULL_SENDER
from gatepost.message.edit import Form
from gatepost.message.transaction import Recipient, Transaction

_MOST_IDS = 20  # of one message: an answer names one of them


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One copy, built: who gets it, how it differs from the original, and how it goes."""

    recipients: tuple[Recipient, ...]
    form: Form
    in_place: bool = False
    tls_route: bool = False
    result: Result | None = None  # for copies that come in
    without_sender: bool = False  # a bounce of it goes to nobody

    @property
    def opened(self) -> bool:
        """Whether the copy was decrypted on its way in."""
        return self.result is not None and self.result.opened


class Records(Protocol):
    """Writes what must be known later. Thread-safe; raises StorageError."""

    def commit(self, rows: Sequence[ThreadRow]) -> None:
        """Write rows; gives control back once they are durable."""

    def write(self, rows: Sequence[ThreadRow], done: Callable[[Exception | None], None]) -> None:
        """Write rows, and tell once they are durable, or what was wrong; in another thread, which may not wait."""

    def post(self, record: Record) -> None:
        """Write the record's events and its log line soon."""

    def flush(self) -> None:
        """Write what was posted; gives control back once it is durable, or the database has failed."""

    def close(self) -> None:
        """Write what is still waiting; raises StorageError if that fails."""


class Holder(Protocol):
    """Puts copies into the vault. Thread-safe; raises StorageError."""

    def hold(self, transaction: Transaction, judgements: Sequence[Judgement], name: UUID) -> None:
        """Hold the copy of these recipients, durably; under the same name it is held once."""

    def notice(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice:
        """Give the notice about the held copies of these recipients."""


class Despatch:
    """Carries plans out."""

    def __init__(
        self,
        *,
        records: Records,
        holder: Holder,
        submitter: Submitter,
        telling: Telling,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or NoMetrics()
        self._records = records
        self._holder = holder
        self._submitter = submitter
        self._telling = telling

    def send(
        self,
        transaction: Transaction,
        plan: Plan,
        outgoing: Sequence[Outgoing],
        budget: Budget,
        attempt: Attempt,
        *,
        started: float,
        envelope: Sequence[Recipient],
    ) -> Verdict | Awaited:
        """
        Carry a plan out, or what is left of it, whose copies are built.

        Gives the verdict on the original, which goes to `envelope`; where that waits for nothing but thread rows,
        what gives it once they are durable.
        """
        held = [copy for copy in plan.copies if copy.treatment is Treatment.QUARANTINE]
        leaving = [one for one in outgoing if not one.in_place]
        if held or leaving:
            attempt.begin(plan)
        for copy in held:
            self._hold(transaction, plan, copy, attempt)
        threads = _threads(transaction, plan, outgoing)
        concluded = partial(
            self._concluded, transaction, plan, outgoing, budget, attempt, started=started, envelope=envelope
        )
        if threads and not attempt.noted:
            return Awaited(partial(self._records.write, threads), concluded)
        if threads:
            self._records.commit(threads)
        for one in leaving:
            self._submit_marked(transaction, one, budget, attempt)
        return concluded()

    def _concluded(
        self,
        transaction: Transaction,
        plan: Plan,
        outgoing: Sequence[Outgoing],
        budget: Budget,
        attempt: Attempt,
        *,
        started: float,
        envelope: Sequence[Recipient],
    ) -> Verdict:
        """Give the verdict: all that must be durable before it is."""
        attempt.settle()
        self._tell(transaction, plan, budget)
        verdict = _verdict(envelope, outgoing)
        answer = type(verdict).__name__.lower()
        details = _with_results(attempt.details(), outgoing)
        self.record(transaction, plan, started=started, answer=answer, details=details)
        for one in outgoing:
            if one.result is not None:
                found = one.result
                self._metrics.arrived(found.decrypted, found.signature.status, len(one.recipients))
        return verdict

    def release(
        self,
        transaction: Transaction,
        plan: Plan,
        outgoing: Sequence[Outgoing],
        budget: Budget,
        attempt: Attempt,
        *,
        started: float,
        answer: str = "release",
    ) -> None:
        """
        Submit every copy of a message whose original is not under way; what stays held is held already.

        `answer` is what the log says was done.
        """
        if outgoing:
            attempt.begin(attempt.with_earlier(plan))
        if threads := _threads(transaction, plan, outgoing):
            self._records.commit(threads)
        for one in outgoing:
            self._submit_marked(transaction, one, budget, attempt)
        attempt.save()
        self.record(transaction, plan, started=started, answer=answer, details=attempt.details())

    def prove_alive(self) -> None:
        """Have nothing written, as threads are: it returns, or fails, only where the writer is at work."""
        with suppress(StorageError):
            self._records.commit(())

    def close(self) -> None:
        """Write what is still to be recorded."""
        self._records.close()

    def _hold(self, transaction: Transaction, plan: Plan, copy: Copy, attempt: Attempt) -> None:
        concerned = set(copy.recipients)
        judgements = [one for one in plan.judgements if one.recipient in concerned]
        self._holder.hold(transaction, judgements, attempt.name_of_copy(copy.recipients))
        attempt.mark(copy.recipients, State.HELD)

    def _submit_marked(self, transaction: Transaction, one: Outgoing, budget: Budget, attempt: Attempt) -> None:
        """Submit a copy, the journal knowing beforehand; unless it surely was not taken, it stays `sending`."""
        attempt.mark(one.recipients, State.SENDING)
        attempt.save()
        try:
            queue_id = self._submit(transaction, one, budget)
        except (DeliveryError, WorkerError) as error:
            if not (isinstance(error, DeliveryError) and error.uncertain):
                attempt.mark(one.recipients, State.PENDING)
            raise
        attempt.mark(one.recipients, State.SUBMITTED, queue_id)

    def _submit(self, transaction: Transaction, outgoing: Outgoing, budget: Budget) -> str:
        budget.tick()
        submission = submission_of(
            transaction,
            outgoing.recipients,
            outgoing.form,
            tls_route=outgoing.tls_route,
            headers_only=outgoing.opened,
        )
        if outgoing.without_sender:
            submission = replace(submission, sender=NULL_SENDER)
        return self._submitter.submit(submission, budget)

    def _tell(self, transaction: Transaction, plan: Plan, budget: Budget) -> None:
        held = [one for one in plan.judgements if one.treatment is Treatment.QUARANTINE]
        notices = [self._holder.notice(transaction, held)] if held else []
        if protected := self._telling.of_protected(transaction, plan.judgements):
            notices.append(protected)
        for notice in notices:
            self._telling.tell(notice, budget, transaction.queue_id)

    def record(
        self,
        transaction: Transaction,
        plan: Plan,
        *,
        started: float,
        answer: str,
        details: Mapping[Recipient, Mapping[str, object]] = MappingProxyType({}),
    ) -> None:
        """Note what became of the message."""
        seconds = time.monotonic() - started
        self._records.post(MessageRecord(transaction, plan, answer, seconds, details, metrics=self._metrics))
        if any(POSSIBLE_DUPLICATE in known for known in details.values()):
            self._records.flush()  # a copy that may have come twice is on record before anybody is answered


def _with_results(
    details: Mapping[Recipient, Mapping[str, object]], outgoing: Sequence[Outgoing]
) -> Mapping[Recipient, Mapping[str, object]]:
    """Add to the details what was found of signatures and encryption in copies that come in, if anything."""
    found = {
        recipient: {"result": one.result.text()}
        for one in outgoing
        if one.result is not None and one.result.telling
        for recipient in one.recipients
    }
    return {one: {**details.get(one, {}), **found.get(one, {})} for one in {*details, *found}}


def _threads(transaction: Transaction, plan: Plan, outgoing: Sequence[Outgoing]) -> list[ThreadRow]:
    """Give thread rows for every protected copy and every opened one; mail without a Message-ID has no thread."""
    sender = transaction.sender.text
    rows = []
    for message_id in map(hashed, transaction.message_ids[:_MOST_IDS]):
        rows += [
            ThreadRow(message_id, sender, one.recipient.address.text, "protected")
            for one in plan.judgements
            if one.treatment in PROTECTING
        ]
        rows += [
            ThreadRow(message_id, recipient.address.text, sender, "decrypted")
            for one in outgoing
            if one.opened
            for recipient in one.recipients
        ]
    return rows


def _verdict(envelope: Sequence[Recipient], outgoing: Sequence[Outgoing]) -> Verdict:
    stays = next((one for one in outgoing if one.in_place), None)
    if stays is None:
        return Discard()
    kept = set(stays.recipients)
    removed = tuple(one.address for one in envelope if one not in kept)
    return Accept(stays.form, removed, headers_only_bounces=stays.opened)
