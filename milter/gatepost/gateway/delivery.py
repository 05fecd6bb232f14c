"""
A delivery: what the mail server's log says of one copy and one recipient; and a copy whose deliveries are awaited.

Rules:
  * Only protected copies for outsiders are followed; of mail that was passed nothing is kept.
  * What a remote server said is kept for people, short and printable; only the mail server's own status counts.
  * A delivery that tells nothing new makes no event: a mail server tries deferred mail again and again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from re import compile as pattern

from gatepost.decision.demand import PROTECTING
from gatepost.directory.event import DELIVERY, Event
from gatepost.message.direction import Direction

_QUEUE_ID = pattern(r"[0-9A-Za-z]{6,30}")
_PROTECTING = frozenset(one.value for one in PROTECTING)


class Status(StrEnum):
    """How a delivery went, in the mail server's own words; `deleted` is the admin's deed."""

    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Session:
    """The TLS session of a delivery; `peer`: Verified, Trusted, Untrusted or Anonymous, as Postfix says."""

    peer: str
    protocol: str
    cipher: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One line of the log. `at` in seconds since the epoch, `delay` in seconds since the copy was queued.

    Without `recipient` it concerns everybody whose copy still waits. `session` is None where no TLS was told.
    """

    at: float
    queue_id: str
    status: Status
    recipient: str = ""
    original: str = ""
    relay: str = ""
    delay: float = 0.0
    dsn: str = ""
    reply: str = ""
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """
    One recipient's copy in the mail server's queue.

    `queue_id` is the copy's, `message` that of the message it was made from. `automatic`: no person sent it.
    `waited` is how many seconds it had been queued when it was deferred last; `told`: its sender knows of that.
    """

    queue_id: str
    recipient: str
    message: str
    message_id: str
    sender: str
    demand: str
    treatment: str
    automatic: bool = False
    status: Status | None = None
    dsn: str = ""
    waited: int = 0
    told: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing more will be told of it."""
        return self.status not in {None, Status.DEFERRED}


def queue_ids_of(event: Event) -> tuple[str, ...]:
    """Give the queue IDs that a recorded decision names: the message's, and that of the recipient's copy."""
    return (event.queue_id, copy) if (copy := _submitted(event)) else (event.queue_id,)


def copy_of(event: Event) -> Copy | None:
    """Give the copy to follow of a recorded decision; None for one that was not protected or did not leave."""
    in_place = event.kind != "release" and "queued_as" not in event.detail
    queue_id = event.queue_id if in_place else _submitted(event)
    if not queue_id or event.treatment not in _PROTECTING or event.direction != Direction.OUT:
        return None
    return Copy(
        queue_id=queue_id,
        recipient=event.recipient,
        message=event.queue_id,
        message_id=event.message_id,
        sender=event.sender,
        demand=event.demand,
        treatment=event.treatment,
        automatic=bool(event.detail.get("automatic")),
    )


def _submitted(event: Event) -> str:
    found = event.detail.get("queued_as")
    return found if isinstance(found, str) and _QUEUE_ID.fullmatch(found) else ""


def concerned(copies: Sequence[Copy], delivery: Delivery) -> tuple[Copy, ...]:
    """Give those copies of one queue file that a delivery is about."""
    if not delivery.recipient:
        return tuple(one for one in copies if not one.done)
    for name in (delivery.recipient, delivery.original):
        found = tuple(one for one in copies if name and one.recipient.lower() == name.lower())
        if found:
            return found
    return tuple(copies) if len(copies) == 1 else ()  # its address was rewritten on the way


def advanced(copy: Copy, delivery: Delivery) -> tuple[Copy, Event | None]:
    """Give what a copy becomes by a delivery, and the event if that is news."""
    if copy.done:
        return copy, None
    news = (copy.status, copy.dsn) != (delivery.status, delivery.dsn)
    waited = int(delivery.delay) if delivery.status is Status.DEFERRED else copy.waited
    after = replace(copy, status=delivery.status, dsn=delivery.dsn, waited=max(waited, copy.waited))
    return after, _event(copy, delivery) if news else None


def _event(copy: Copy, delivery: Delivery) -> Event:
    return Event(
        at=delivery.at,
        kind=DELIVERY,
        queue_id=copy.queue_id,
        message_id=copy.message_id,
        direction=Direction.OUT.value,
        sender=copy.sender,
        recipient=copy.recipient,
        demand=copy.demand,
        treatment=copy.treatment,
        detail={"message": copy.message, **dict(_told(delivery))},
    )


def _told(delivery: Delivery) -> Iterator[tuple[str, object]]:
    yield "status", delivery.status.value
    if delivery.recipient:
        yield "dsn", delivery.dsn
        yield "relay", delivery.relay
        yield "delay", delivery.delay
        yield "reply", delivery.reply
    if delivery.session is not None:
        yield "tls", delivery.session.protocol
        yield "cipher", delivery.session.cipher
        yield "peer", delivery.session.peer


def told(detail: Mapping[str, object]) -> str:
    """Tell the detail of a delivery's event in one sentence, for people."""
    status = detail.get("status", "")
    words = [{"expired": "expired, returned to the sender"}.get(str(status), str(status))]
    if detail.get("tls"):
        words.append(f"over {detail['tls']} ({detail.get('peer')}, {detail.get('cipher')})")
    elif status == Status.SENT:
        words.append("without TLS, as far as the log tells")
    if detail.get("relay"):
        words.append(f"{'to' if status == Status.SENT else 'at'} {detail['relay']}")
    if detail.get("reply"):
        words.append(f"[{detail.get('dsn')}] {detail['reply']}")
    return " ".join(words)
