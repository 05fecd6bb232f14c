"""
Stamps in their table, and the events that they cover, as digests.

What is verified is read as of one moment: events are written, stamped and purged meanwhile.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, Text, delete, func, insert, select, type_coerce

from gatepost.db.engine import Database
from gatepost.db.moment import EPOCH
from gatepost.db.tables import event
from gatepost.db.tables import stamp as table
from gatepost.directory.audit import Place
from gatepost.directory.stamp import ENDLESS, Stamp, digest_of

_AT_ONCE = 100  # stamps that are read together
_ROWS_AT_ONCE = 1000

# What a digest is made of, in this order; `at` as the driver gives it, so that nonsense in it is no fault of ours.
_COVERED = (
    event.c.host,
    event.c.id,
    type_coerce(event.c.at, Text).label("at"),
    *(
        event.c[name]
        for name in (
            *("kind", "queue_id", "message_id", "direction", "sender", "recipient"),
            *("demand", "treatment", "rules", "reasons", "detail"),
        )
    ),
)

_STAMPS = select(
    *(type_coerce(column, Text).label("at") if column is table.c.at else column for column in table.columns)
)


class SqlStamps:
    """Stamps for who makes them; an implementation of `StampStore`. Thread-safe; raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hosts(self) -> tuple[str, ...]:
        """Give the hosts that have stamps."""
        with self._database.reading() as connection:
            return tuple(connection.scalars(select(table.c.host).distinct().order_by(table.c.host)))

    def newest(self, host: str) -> Stamp | None:
        """Give the stamp of the highest number."""
        latest = _STAMPS.where(table.c.host == host).order_by(table.c.number.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(latest).first()
        return None if row is None else _stamp(row)

    def unstamped(self, host: str, after: int, most: int) -> tuple[Place, ...]:
        """Give the events of the next run without a gap, beyond a sequence."""
        wanted = _places(host).where(event.c.sequence > after, event.c.sequence < ENDLESS).limit(most)
        with self._database.reading() as connection:
            found = [_place(row) for row in connection.execute(wanted)]
        return tuple(one for index, one in enumerate(found) if one.sequence == found[0].sequence + index)

    def add(self, one: Stamp) -> None:
        """Write a stamp; raises DirectoryError if its number is taken."""
        with self._database.writing() as connection:
            connection.execute(insert(table).values(_values(one)))

    def over(self, host: str, before: datetime, most: int) -> int:
        """Give the number of the last of the earliest stamps, at most so many, that were made before; or 0."""
        earliest = (
            select(table.c.number, table.c.at).where(table.c.host == host).order_by(table.c.number).limit(most)
        )
        with self._database.reading() as connection:
            rows = connection.execute(earliest).all()
        number = 0
        for row in rows:
            if row.at >= before:
                break
            number = row.number
        return number

    def purge(self, record: Stamp) -> int:
        """Delete every stamp up to `record.purged` with its events, and add the record; gives how many events."""
        mine = (table.c.host == record.host, table.c.number <= record.purged)
        with self._database.writing() as connection:
            last = connection.scalar(select(func.max(table.c.last)).where(*mine)) or 0
            gone = connection.execute(
                delete(event).where(event.c.host == record.host, event.c.sequence <= last)
            ).rowcount
            connection.execute(delete(table).where(*mine))
            connection.execute(insert(table).values(_values(record)))
        return gone

    def purge_unchained(self, before: datetime) -> int:
        """Delete the old among the events that are older than stamps; gives how many."""
        with self._database.writing() as connection:
            return connection.execute(delete(event).where(event.c.host == "", event.c.at < before)).rowcount


class Snapshot:
    """The record as of one moment, for `directory.audit`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def hosts(self) -> tuple[str, ...]:
        """Give the hosts that have events or stamps."""
        either = select(event.c.host).union(select(table.c.host))
        return tuple(sorted(host for host in self._connection.scalars(either) if host))

    def unchained(self) -> int:
        """Give how many events are older than stamps."""
        return int(self._connection.scalar(select(func.count()).where(event.c.host == "")) or 0)

    def latest_purge(self, host: str) -> Stamp | None:
        """Give the stamp that tells of the latest purge."""
        wanted = _STAMPS.where(table.c.host == host, table.c.purged > 0).order_by(table.c.purged.desc()).limit(1)
        row = self._connection.execute(wanted).first()
        return None if row is None else _stamp(row)

    def stamps(self, host: str) -> Iterator[Sequence[Stamp]]:
        """Give the stamps in order, some at a time."""
        number: int | None = None
        while True:
            wanted = _STAMPS.where(table.c.host == host).order_by(table.c.number).limit(_AT_ONCE)
            if number is not None:
                wanted = wanted.where(table.c.number > number)
            rows = self._connection.execute(wanted).all()
            if not rows:
                return
            yield [_stamp(row) for row in rows]
            number = rows[-1].number

    def places(self, host: str, after: int | None, last: int | None) -> Iterator[Place]:
        """Give the events by sequence, beyond `after` and up to `last`, where these are given."""
        wanted = _places(host)
        if after is not None:
            wanted = wanted.where(event.c.sequence > after)
        if last is not None:
            wanted = wanted.where(event.c.sequence <= last)
        for row in self._connection.execute(wanted, execution_options={"yield_per": _ROWS_AT_ONCE}):
            yield _place(row)


@contextmanager
def snapshot(database: Database) -> Iterator[Snapshot]:
    """Open the record as of now; raises StorageError."""
    with database.reading() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN")  # the engine leaves transactions to us
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        try:
            yield Snapshot(connection)
        finally:
            if database.is_sqlite:
                connection.exec_driver_sql("ROLLBACK")
            else:
                connection.rollback()


def _places(host: str) -> Select[Any]:
    return select(event.c.sequence, *_COVERED).where(event.c.host == host).order_by(event.c.sequence)


def _place(row: Row[Any]) -> Place:
    sequence, host, number, at, *others = tuple(row)
    return Place(_number(sequence), digest_of((host, number, _microseconds(at), *others)))


def _microseconds(value: object) -> object:
    """Give a time in microseconds since the epoch; nonsense stays as it is."""
    found = _instant(value)
    return value if found is None else (found - EPOCH) // timedelta(microseconds=1)


def _instant(value: object) -> datetime | None:
    """Read a time as the driver gives it: SQLite keeps UTC as text; None for nonsense."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _octets(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _values(one: Stamp) -> dict[str, object]:
    return {
        "host": one.host,
        "number": one.number,
        "at": one.at,
        "first": one.first,
        "last": one.last,
        "digests": one.digests,
        "purged": one.purged,
        "previous": one.previous,
        "code": one.code,
    }


def _stamp(row: Row[Any]) -> Stamp:
    """Read a stamp; where SQL beside us has written values of another type, it cannot be proven."""
    return Stamp(
        host=row.host,
        number=_number(row.number),
        at=_instant(row.at) or EPOCH,
        first=_number(row.first),
        last=_number(row.last),
        digests=_octets(row.digests),
        previous=_octets(row.previous),
        purged=_number(row.purged),
        code=_octets(row.code),
    )
