"""
Copies under way, and how far a host's log was followed, in their tables.

What one reading of the log brought is written in one transaction: events, copies and position. The events have a
chain of their own, since two processes that number one chain would get into each other's way again and again.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gatepost.db.engine import Database
from gatepost.db.events import EventRows, SqlEvents
from gatepost.db.tables import early_delivery, event, log_position, queued_copy
from gatepost.directory.event import Recorded
from gatepost.directory.stamp import ENDLESS
from gatepost.errors import DirectoryError, StorageError
from gatepost.gateway.delivery import Copy, Delivery, Session, Status
from gatepost.gateway.following import Change, Position

_DONE_KEPT = timedelta(days=2)
_KEPT = timedelta(days=30)  # longer than a mail server tries
_EARLY_KEPT = timedelta(days=1)  # a message that was put off comes again by then
_KEY = ("host", "queue_id", "recipient")
_MEANWHILE = ("status", "dsn", "waited", "at")  # what the log changes of a copy


def chain_of(host: str) -> str:
    """Name the chain of events that the log of a host makes."""
    return f"{host} deliveries"


class SqlDeliveries:
    """The tables of one host; an implementation of `DeliveryStore`. For one thread alone, but for `purge`."""

    def __init__(
        self, database: Database, host: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Take the host as the milter's events name it."""
        self._database = database
        self._host = host
        self._clock = clock
        self._events = SqlEvents(database)

    def position(self) -> Position | None:
        """Tell where following goes on; None if it never began."""
        wanted = select(log_position.c.place, log_position.c.sequence).where(log_position.c.host == self._host)
        with self._database.reading() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else Position(row.place, row.sequence)

    def seen(self) -> datetime | None:
        """Tell when the position was written last; None if it never was."""
        with self._database.reading() as connection:
            return connection.scalar(select(log_position.c.at).where(log_position.c.host == self._host))

    def latest(self) -> int:
        """Give the sequence of the host's latest recorded decision."""
        wanted = select(func.max(event.c.sequence)).where(event.c.host == self._host, event.c.sequence < ENDLESS)
        with self._database.reading() as connection:
            return int(connection.scalar(wanted) or 0)

    def decisions(self, after: int, most: int) -> Sequence[Recorded]:
        """Give the host's recorded decisions beyond a sequence, in order."""
        return self._events.following(self._host, after, most)

    def copies(self, queue_ids: Iterable[str]) -> Sequence[Copy]:
        """Give the copies that are known under these queue IDs."""
        wanted = select(queued_copy).where(
            queued_copy.c.host == self._host, queued_copy.c.queue_id.in_(list(queue_ids))
        )
        with self._database.reading() as connection:
            return [copy_from(row) for row in connection.execute(wanted)]

    def decided(self, queue_ids: Iterable[str]) -> frozenset[str]:
        """Give those of these queue IDs under which a decision is recorded."""
        wanted = (
            select(event.c.queue_id)
            .where(event.c.queue_id.in_(list(queue_ids)), event.c.host == self._host)
            .distinct()
        )
        with self._database.reading() as connection:
            return frozenset(connection.scalars(wanted))

    def kept(self, queue_ids: Iterable[str]) -> Sequence[Delivery]:
        """Give the deliveries that were kept for copies of these queue IDs, in order."""
        wanted = (
            select(early_delivery.c.told)
            .where(early_delivery.c.host == self._host, early_delivery.c.queue_id.in_(list(queue_ids)))
            .order_by(early_delivery.c.id)
        )
        with self._database.reading() as connection:
            return [_delivery_from(text) for text in connection.scalars(wanted)]

    def write(self, change: Change, before: Position | None, after: Position) -> None:
        """Write all of it or nothing; raises StorageError too where another process has moved the position."""
        now = self._clock()
        rows = EventRows(self._database, chain_of(self._host))
        sql, events = rows.batch(change.events)
        try:
            with self._database.writing() as connection:
                self._move(connection, before, after, now)
                if events:
                    connection.exec_driver_sql(sql, list(events))
                if change.copies:
                    self._write_copies(connection, [self._columns(one, now) for one in change.copies])
                if heard := list(change.heard):
                    mine = (early_delivery.c.host == self._host, early_delivery.c.queue_id.in_(heard))
                    connection.execute(delete(early_delivery).where(*mine))
                if change.kept:
                    connection.execute(insert(early_delivery), [self._early(one, now) for one in change.kept])
        except DirectoryError as error:
            raise StorageError(str(error)) from error

    def _move(self, connection: Connection, before: Position | None, after: Position, now: datetime) -> None:
        values = {"place": after.place, "sequence": after.sequence, "at": now}
        if before is None:
            connection.execute(insert(log_position).values(host=self._host, **values))
            return
        mine = update(log_position).where(
            log_position.c.host == self._host,
            log_position.c.place == before.place,
            log_position.c.sequence == before.sequence,
        )
        if connection.execute(mine.values(values)).rowcount != 1:
            raise StorageError("another process follows the mail server's log of this host")

    def _write_copies(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Add copies, or write what has become of them; whether the sender was told is not ours to say."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        statement = dialect.insert(queued_copy)
        changed = {name: statement.excluded[name] for name in _MEANWHILE}
        connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=changed), rows)

    def _columns(self, one: Copy, now: datetime) -> dict[str, Any]:
        return {**asdict(one), "status": one.status.value if one.status else "", "host": self._host, "at": now}

    def _early(self, one: Delivery, now: datetime) -> dict[str, Any]:
        return {"host": self._host, "queue_id": one.queue_id, "told": json.dumps(asdict(one)), "at": now}

    def purge(self) -> int:
        """Delete what no line can concern any more; gives the number of rows."""
        now = self._clock()
        mine = queued_copy.c.host == self._host
        done = mine & queued_copy.c.status.not_in(["", Status.DEFERRED.value])
        with self._database.writing() as connection:
            gone = [
                connection.execute(delete(queued_copy).where(done, queued_copy.c.at < now - _DONE_KEPT)),
                connection.execute(delete(queued_copy).where(mine, queued_copy.c.at < now - _KEPT)),
                connection.execute(
                    delete(early_delivery).where(
                        early_delivery.c.host == self._host, early_delivery.c.at < now - _EARLY_KEPT
                    )
                ),
            ]
        return sum(one.rowcount for one in gone)


def copy_from(row: Row[Any]) -> Copy:
    """Read a copy's row."""
    return Copy(
        queue_id=row.queue_id,
        recipient=row.recipient,
        message=row.message,
        message_id=row.message_id,
        sender=row.sender,
        demand=row.demand,
        treatment=row.treatment,
        automatic=row.automatic,
        status=_status(row.status),
        dsn=row.dsn,
        waited=row.waited,
        told=row.told,
    )


def _status(word: str) -> Status | None:
    try:
        return Status(word)
    except ValueError:
        return None  # empty, or what somebody else has written there


def _delivery_from(text: str) -> Delivery:
    try:
        values: Mapping[str, Any] = json.loads(text)
        session = values["session"] and Session(**values["session"])
        return Delivery(**{**values, "status": Status(values["status"]), "session": session})
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError("a row of table early_delivery cannot be read; delete it") from error
