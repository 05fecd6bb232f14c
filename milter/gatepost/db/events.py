"""
Events in their table: looked up by message or by what was asked for, and numbered as they are written.

Every event has its place in its host's chain: the sequence counts without gaps from 1, so that a removed row is
missed (`directory.stamp`).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select

from gatepost.db.direct import Batch
from gatepost.db.engine import Database
from gatepost.db.statement import Statement
from gatepost.db.tables import event as table
from gatepost.db.tables import stamp
from gatepost.directory.event import DELIVERY, Event, Recorded
from gatepost.directory.stamp import ENDLESS

_WRITTEN = [column.name for column in table.columns if column.name != "id"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are wanted; what is None does not matter. Addresses match whatever their case."""

    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    sender: str | None = None
    recipient: str | None = None
    treatment: str | None = None


class SqlEvents:
    """Reads events. Thread-safe; raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str) -> tuple[Event, ...]:
        """
        Give the events of a message, oldest first, and what the log told of its copies.

        It is known by its queue ID, by that of one of its copies, or by its Message-ID, with or without its
        brackets.
        """
        bracketed = name if name.startswith("<") else f"<{name}>"
        same = or_(table.c.queue_id == name, table.c.message_id.in_((name, bracketed)))
        with self._database.reading() as connection:
            named = [_event(row) for row in connection.execute(select(table).where(same))]
            either = or_(same, *_related(named))
            rows = connection.execute(select(table).where(either).order_by(table.c.id)).all()
        return tuple(_event(row) for row in rows)

    def following(self, host: str, after: int, most: int) -> tuple[Recorded, ...]:
        """Give the events of one host's chain beyond a sequence, at most so many, in order."""
        wanted = select(table).where(table.c.host == host, table.c.sequence > after, table.c.sequence < ENDLESS)
        with self._database.reading() as connection:
            rows = connection.execute(wanted.order_by(table.c.sequence).limit(most)).all()
        return tuple(Recorded(row.host, row.sequence, _event(row)) for row in rows)

    def wanted(self, wanted: Wanted, most: int) -> tuple[Recorded, ...]:
        """Give the latest events that are wanted, at most so many, oldest first."""
        latest = select(table).where(*_conditions(wanted)).order_by(table.c.id.desc()).limit(most)
        with self._database.reading() as connection:
            rows = connection.execute(latest).all()
        return tuple(Recorded(row.host, row.sequence, _event(row)) for row in reversed(rows))


class EventRows:
    """Events as rows of one host's chain, numbered. For one thread alone."""

    def __init__(self, database: Database, host: str) -> None:
        self._database = database
        self._host = host
        self._insert = Statement(insert(table), database.writer.dialect, _WRITTEN)
        self._next = 0  # 0: not known

    def batch(self, events: Iterable[Event]) -> Batch:
        """Give the statement and the rows of events that follow those written; raises StorageError."""
        events = list(events)
        if events and not self._next:
            self._next = self._ask()
        numbered = enumerate(events, self._next)
        return self._insert.sql, [
            self._insert.parameters(_columns(one, self._host, sequence)) for sequence, one in numbered
        ]

    def written(self, batch: Batch) -> None:
        """Note that the rows of a batch are on disk."""
        self._next += len(batch[1])

    def renumber(self) -> bool:
        """Ask for the numbers anew; True if another process of this host has taken some. Raises StorageError."""
        before, self._next = self._next, 0
        self._next = self._ask()
        return self._next != before

    def _ask(self) -> int:
        """Ask for the next number: expiry may have deleted the latest events, but not the stamp that follows."""
        with self._database.reading() as connection:
            last = connection.scalar(
                select(func.max(table.c.sequence)).where(table.c.host == self._host, table.c.sequence < ENDLESS)
            )
            stamped = connection.scalar(
                select(func.max(stamp.c.last)).where(stamp.c.host == self._host, stamp.c.last < ENDLESS)
            )
        return int(max(last or 0, stamped or 0)) + 1


def _related(named: Iterable[Event]) -> Iterator[ColumnElement[bool]]:
    """Tell how what belongs to these events is found: a decision by its copies' deliveries, and the other way."""
    messages = {str(one.detail.get("message", "")) for one in named if one.kind == DELIVERY}
    copies = {str(one.detail.get("queued_as", "")) for one in named if one.kind != DELIVERY}
    yield and_(table.c.kind != DELIVERY, table.c.queue_id.in_(messages - {""}))
    yield and_(table.c.kind == DELIVERY, table.c.queue_id.in_(copies - {""}))


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.since is not None:
        yield table.c.at >= wanted.since
    if wanted.until is not None:
        yield table.c.at < wanted.until
    if wanted.kind is not None:
        yield table.c.kind == wanted.kind
    if wanted.sender is not None:
        yield func.lower(table.c.sender) == wanted.sender.lower()
    if wanted.recipient is not None:
        yield func.lower(table.c.recipient) == wanted.recipient.lower()
    if wanted.treatment is not None:
        yield table.c.treatment == wanted.treatment


def _columns(one: Event, host: str, sequence: int) -> dict[str, Any]:
    return {
        "host": host,
        "sequence": sequence,
        "at": datetime.fromtimestamp(one.at, UTC),
        "kind": one.kind,
        "queue_id": one.queue_id,
        "message_id": one.message_id,
        "direction": one.direction,
        "sender": one.sender,
        "recipient": one.recipient,
        "demand": one.demand,
        "treatment": one.treatment,
        "rules": "\n".join(one.rules),
        "reasons": "\n".join(one.reasons),
        "detail": json.dumps(one.detail) if one.detail else "{}",
    }


def _event(row: Row[Any]) -> Event:
    return Event(
        at=row.at.timestamp(),
        kind=row.kind,
        queue_id=row.queue_id,
        message_id=row.message_id,
        direction=row.direction,
        sender=row.sender,
        recipient=row.recipient,
        demand=row.demand,
        treatment=row.treatment,
        rules=tuple(row.rules.splitlines()),
        reasons=tuple(row.reasons.splitlines()),
        detail=_detail(row.detail),
    )


def _detail(text: str) -> dict[str, object]:
    """Read the detail; text that somebody else has written there is given as it is."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": text}
