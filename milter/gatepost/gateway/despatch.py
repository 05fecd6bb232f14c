"""
Despatch: a plan is carried out, durable first.

Held copies into the vault; thread rows and the vault's rows committed; every other copy submitted; then the
original is edited for the one copy that stays, or dropped where none may. Notices go last: a lost notice harms
less than a second copy.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gatepost.decision.demand import PROTECTING, Treatment
from gatepost.decision.plan import Judgement, Plan
from gatepost.directory.event import Event
from gatepost.directory.thread import ThreadRow, hashed
from gatepost.gateway.budget import Budget
from gatepost.gateway.notices import Notice
from gatepost.gateway.result import Result
from gatepost.gateway.submission import Submitter, submission_of
from gatepost.gateway.telling import Telling
from gatepost.gateway.verdict import Accept, Discard, Verdict
from gatepost.log import logger
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

    @property
    def opened(self) -> bool:
        """Whether the copy was decrypted on its way in."""
        return self.result is not None and self.result.opened


class Records(Protocol):
    """Writes what must be known later. Thread-safe; raises StorageError."""

    def commit(self, rows: Sequence[ThreadRow]) -> None:
        """Write rows; gives control back once they are durable."""

    def post(self, events: Sequence[Event]) -> None:
        """Write events soon."""

    def close(self) -> None:
        """Write what is still waiting; raises StorageError if that fails."""


class Holder(Protocol):
    """Puts copies into the vault."""

    def hold(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice:
        """Hold the copy of these recipients, durably; gives the notice that is due."""


class Despatch:
    """Carries plans out."""

    def __init__(self, *, records: Records, holder: Holder, submitter: Submitter, telling: Telling) -> None:
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
        *,
        started: float,
        envelope: Sequence[Recipient],
    ) -> Verdict:
        """Carry a plan out whose copies are built; gives the verdict on the original, which goes to `envelope`."""
        held = [one for one in plan.judgements if one.treatment is Treatment.QUARANTINE]
        notices = [self._holder.hold(transaction, held)] if held else []
        queued = self._submit_all(transaction, plan, outgoing, budget, but_in_place=True)
        if protected := self._telling.of_protected(transaction, plan.judgements):
            notices.append(protected)
        for notice in notices:
            self._telling.tell(notice, budget)
        verdict = _verdict(envelope, outgoing)
        self.record(transaction, plan, started=started, answer=type(verdict).__name__.lower(), queued=queued)
        return verdict

    def submit(
        self, transaction: Transaction, plan: Plan, outgoing: Sequence[Outgoing], budget: Budget, *, started: float
    ) -> None:
        """Submit every copy of a message whose original is not under way; what stays held is held already."""
        queued = self._submit_all(transaction, plan, outgoing, budget, but_in_place=False)
        self.record(transaction, plan, started=started, answer="release", queued=queued)

    def close(self) -> None:
        """Write what is still to be recorded."""
        self._records.close()

    def _submit_all(
        self,
        transaction: Transaction,
        plan: Plan,
        outgoing: Sequence[Outgoing],
        budget: Budget,
        *,
        but_in_place: bool,
    ) -> dict[Recipient, str]:
        """Commit the thread rows, then submit copies; gives what the listener called each recipient's."""
        threads = list(_threads(transaction, plan, outgoing))
        if threads:
            self._records.commit(threads)
        queued: dict[Recipient, str] = {}
        for one in outgoing:
            if not (but_in_place and one.in_place):
                queue_id = self._submit(transaction, one, budget)
                queued.update(dict.fromkeys(one.recipients, queue_id))
        return queued

    def _submit(self, transaction: Transaction, outgoing: Outgoing, budget: Budget) -> str:
        budget.tick()
        submission = submission_of(
            transaction,
            outgoing.recipients,
            outgoing.form,
            tls_route=outgoing.tls_route,
            headers_only=outgoing.opened,
        )
        return self._submitter.submit(submission, budget)

    def record(
        self,
        transaction: Transaction,
        plan: Plan,
        *,
        started: float,
        answer: str,
        queued: dict[Recipient, str] | None = None,
    ) -> None:
        """Write an event for each recipient and the message's one log line."""
        now = time.time()
        message_id = transaction.message_id
        queued = queued or {}
        self._records.post(
            [
                Event(
                    at=now,
                    queue_id=transaction.queue_id,
                    message_id=message_id,
                    direction=one.direction.value,
                    sender=transaction.sender.text,
                    recipient=one.recipient.address.text,
                    demand=one.demand.word,
                    treatment=one.treatment.value,
                    rules=one.rules,
                    reasons=one.reasons,
                    detail={"queued_as": queued[one.recipient]} if one.recipient in queued else {},
                )
                for one in plan.judgements
            ]
        )
        logger.info(
            "message",
            queue_id=transaction.queue_id,
            answer=answer,
            sender=str(transaction.sender),
            recipients=[
                f"{one.recipient.address.text} {one.direction.value} {one.treatment.value}"
                for one in plan.judgements
            ],
            milliseconds=round((time.monotonic() - started) * 1000, 1),
        )


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
