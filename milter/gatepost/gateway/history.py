"""
A message's history: what was decided for each recipient, and how each copy went, as the mail server's log told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.directory.event import DELIVERY, Event
from gatepost.gateway.delivery import queue_ids_of


@dataclass(frozen=True, slots=True)
class Decided:
    """One recorded decision, and the deliveries of its copy in the order in which they were logged."""

    event: Event
    deliveries: tuple[Event, ...]


def history(events: Sequence[Event]) -> tuple[Decided, ...]:
    """Put deliveries to the decisions that they belong to: by the copy's queue ID and the recipient."""
    deliveries = [one for one in events if one.kind == DELIVERY]
    return tuple(
        Decided(event, tuple(one for one in deliveries if _of(event, one)))
        for event in events
        if event.kind != DELIVERY
    )


def _of(event: Event, delivery: Event) -> bool:
    copy = queue_ids_of(event)[-1]
    return delivery.queue_id == copy and delivery.recipient == event.recipient
