"""
The journal's table. Its lease is taken and kept by conditions in the statements, so two hosts cannot both hold it.
"""

import json
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, or_, select, update

from gatepost.db.engine import Database
from gatepost.db.tables import journal as table
from gatepost.errors import DirectoryError, StorageError
from gatepost.gateway import stored_plan
from gatepost.gateway.entry import Entry, Lease, Progress, State


class SqlJournal:
    """The rows of the journal; an implementation of `JournalStore`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, key: bytes) -> Entry | None:
        """Look an entry up; raises StorageError."""
        with self._database.reading() as connection:
            row = connection.execute(select(table).where(table.c.key == key)).first()
        if row is None:
            return None
        plan = stored_plan.from_text(row.plan)
        progress = _progress_from_text(row.progress)
        if len(progress) != len(plan.judgements):
            raise StorageError("a row of table journal does not tell the progress of each recipient")
        return Entry(key, UUID(row.id), row.queue_id, plan, progress, row.settled)

    def add(self, entry: Entry, lease: Lease, at: datetime, *, over_settled: bool) -> bool:
        """Write an entry, in the place of a settled one if allowed; False, and nothing done, if one is there."""
        values = _values(entry, lease, at) | {"key": entry.key, "id": str(entry.id), "queue_id": entry.queue_id}
        try:
            with self._database.writing() as connection:
                if over_settled:
                    connection.execute(delete(table).where(table.c.key == entry.key, table.c.settled.is_(True)))
                connection.execute(insert(table).values(values))
        except DirectoryError:  # another try wrote its own first
            return False
        return True

    def claim(self, key: bytes, lease: Lease, at: datetime) -> bool:
        """Take the lease; False if another's is not over yet."""
        change = update(table).where(table.c.key == key, table.c.lease <= at).values(_lease_values(lease))
        with self._database.writing() as connection:
            return connection.execute(change).rowcount == 1

    def save(self, entry: Entry, lease: Lease, at: datetime) -> bool:
        """Write what an entry has become; False, and nothing done, if the lease is another's by now."""
        mine = (table.c.key == entry.key, table.c.claim == str(lease.claim))
        with self._database.writing() as connection:
            done = connection.execute(update(table).where(*mine).values(_values(entry, lease, at)))
            return done.rowcount == 1

    def free(self, holder: str, at: datetime) -> None:
        """End every lease of a holder."""
        with self._database.writing() as connection:
            connection.execute(
                update(table).where(table.c.holder == holder, table.c.lease > at).values(lease=at, claim="")
            )

    def purge(self, settled_before: datetime, others_before: datetime) -> int:
        """Delete entries last written before these times; gives their number."""
        over = or_(table.c.at < others_before, (table.c.at < settled_before) & table.c.settled.is_(True))
        with self._database.writing() as connection:
            return connection.execute(delete(table).where(over)).rowcount


def _values(entry: Entry, lease: Lease, at: datetime) -> dict[str, object]:
    return {
        "plan": stored_plan.to_text(entry.plan),
        "progress": json.dumps([[one.state, one.queue_id, one.repeated] for one in entry.progress]),
        "settled": entry.settled,
        "at": at,
    } | _lease_values(lease)


def _lease_values(lease: Lease) -> dict[str, object]:
    return {"holder": lease.holder, "claim": str(lease.claim), "lease": lease.until}


def _progress_from_text(text: str) -> tuple[Progress, ...]:
    try:
        return tuple(Progress(State(state), queue_id, repeated) for state, queue_id, repeated in json.loads(text))
    except (ValueError, TypeError) as error:
        raise StorageError("a row of table journal tells a progress that cannot be read") from error
