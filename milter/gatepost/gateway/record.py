"""
The record of one message: what was decided for each recipient and how it went.

It is told once, as the message's one log line, and kept as one event for each recipient. Both are made when the
record is written, not while the message waits: many at a time cost less than one by one.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatepost.decision.demand import Treatment
from gatepost.decision.plan import Judgement, Plan
from gatepost.directory.event import POSSIBLE_DUPLICATE, Event, Kind
from gatepost.gateway.metrics import Metrics, NoMetrics
from gatepost.gateway.notices import is_automatic
from gatepost.log import logger
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient, Transaction


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """
    What became of one message, a Record; `at` in seconds since the epoch, `seconds` how long it took.

    `details` holds what else an event says of a recipient; it must fit into JSON.
    """

    transaction: Transaction
    plan: Plan
    answer: str
    seconds: float
    details: Mapping[Recipient, Mapping[str, object]] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=NoMetrics)
    at: float = field(default_factory=time.time)

    def events(self) -> list[Event]:
        """Give an event for each recipient."""
        message_id, sender = self.transaction.message_id, self.transaction.sender.text
        return [
            Event(
                at=self.at,
                kind=self._kind(one.recipient),
                queue_id=self.transaction.queue_id,
                message_id=message_id,
                direction=one.direction.value,
                sender=sender,
                recipient=one.recipient.address.text,
                demand=one.demand.word,
                treatment=one.treatment.value,
                rules=one.rules,
                reasons=one.reasons,
                detail=self._detail(one),
            )
            for one in self.plan.judgements
        ]

    def _detail(self, one: Judgement) -> Mapping[str, object]:
        detail = dict(self.details.get(one.recipient, {}))
        if one.recipient.alias is not None:
            detail["alias"] = one.recipient.alias.text
        if one.direction is Direction.IN and self.plan.inbound is not None:
            detail["came"] = self.plan.inbound.came.value
        if one.treatment is Treatment.TLS and is_automatic(self.transaction):
            detail["automatic"] = True  # nobody to tell if it waits
        return detail

    def _kind(self, recipient: Recipient) -> Kind:
        if self.answer == "release":
            return "release"
        return POSSIBLE_DUPLICATE if POSSIBLE_DUPLICATE in self.details.get(recipient, {}) else "message"

    def tell(self) -> None:
        """Write the message's one log line, and count it."""
        self.metrics.answered(self.answer, self.seconds, self.plan.judgements)
        logger.info(
            "message",
            queue_id=self.transaction.queue_id,
            answer=self.answer,
            sender=str(self.transaction.sender),
            recipients=[
                f"{one.recipient.address.text} {one.direction.value} {one.treatment.value}"
                for one in self.plan.judgements
            ],
            milliseconds=round(self.seconds * 1000, 1),
        )
