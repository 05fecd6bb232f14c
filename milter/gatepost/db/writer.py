"""
Writes rows in groups: one thread, one transaction for all that has come in meanwhile, one sync to disk for all.

Rules:
  * `commit` gives control back when its rows are on disk, else raises StorageError; `write` tells of it instead.
    `post` never waits: events go with the next group, after half a second at the latest, so a crash may lose
    the last second of events. `flush` waits for them.
  * When the database fails, whoever waits is told, and events are kept and tried again.
  * A row that cannot be stored spoils no other: the group is then written one by one.
  * Events continue their host's chain; where another process of this host wrote meanwhile, they are numbered anew.
  * What is kept is bounded. An event that finds no room is counted and logged, not dropped in silence.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import postgresql, sqlite

from gatepost import log
from gatepost.db.direct import Batch, DirectWriter
from gatepost.db.engine import Database
from gatepost.db.events import EventRows
from gatepost.db.statement import Statement
from gatepost.db.tables import addressee, exchange, thread
from gatepost.directory.event import Event, Record
from gatepost.directory.exchange import AddresseeRow, ExchangeRow
from gatepost.directory.thread import ThreadRow
from gatepost.errors import DirectoryError, StorageError, cause
from gatepost.log import logger

LINGER_SECONDS = 0.5
GATHER_SECONDS = 0.004  # a pause after each group: whoever comes meanwhile shares the next one
WAIT_SECONDS = 60.0
MOST_EVENTS = 20_000
MOST_WAITING = 2_000
_RETRY_SECONDS = 1.0

Row = ThreadRow | ExchangeRow | AddresseeRow
_TABLES: dict[type[Row], Table] = {ThreadRow: thread, ExchangeRow: exchange, AddresseeRow: addressee}


@dataclass(frozen=True, slots=True)
class _Job:
    """Rows, and who is told once they are on disk, or what was wrong."""

    rows: Sequence[Row]
    finish: Callable[[Exception | None], None]


class _Waiter:
    """Waits for a job. The lock is the cheapest signal that a thread can wait for with a deadline."""

    __slots__ = ("_done", "_error")

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def finish(self, error: Exception | None) -> None:
        """Tell who waits."""
        self._error = error
        self._done.release()

    def wait(self) -> None:
        """Wait until the rows are on disk; raises StorageError."""
        if not self._done.acquire(timeout=WAIT_SECONDS):
            raise StorageError(f"the database did not commit within {WAIT_SECONDS:.0f} s")
        if self._error is not None:
            raise self._error


class Writer:
    """Writes rows of threads and exchanges, and events. Thread-safe; one per process."""

    def __init__(self, database: Database, host: str) -> None:
        """Take the host whose chain the events continue."""
        self._direct = DirectWriter(database)
        dialect = database.writer.dialect
        self._inserts = {
            kind: Statement(_insert_ignoring_known(database, table), dialect, [one.name for one in table.columns])
            for kind, table in _TABLES.items()
        }
        self._event_rows = EventRows(database, host)
        self._wake = threading.Condition()
        self._jobs: list[_Job] = []
        self._flushes: list[_Waiter] = []
        self._records: list[Record] = []
        self._unwritten: list[Event] = []  # of records that were told; only the writer's thread touches it
        self._records_due = 0.0
        self._lost = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="database writer", daemon=True)
        self._thread.start()

    def commit(self, rows: Sequence[Row]) -> None:
        """Write rows, wait until they are on disk; one that is there already is as good. Raises StorageError."""
        waiter = _Waiter()
        self.write(rows, waiter.finish)
        waiter.wait()

    def write(self, rows: Sequence[Row], done: Callable[[Exception | None], None]) -> None:
        """
        Write rows as `commit` does, and tell once they are on disk, or what was wrong.

        It is told in the writer's thread, which `done` must not hold up. Raises StorageError where the writer is
        closed, or too many wait.
        """
        with self._wake:
            if self._closed:
                raise StorageError("the database writer is closed")
            if len(self._jobs) >= MOST_WAITING:
                raise StorageError(f"the database is too slow: {MOST_WAITING} messages wait for it")
            self._jobs.append(_Job(rows, done))
            self._wake.notify()

    def post(self, record: Record) -> None:
        """Write a record's events and its log line soon."""
        with self._wake:
            if self._closed:
                logger.error("events were lost: the database writer is closed", count=1)
            elif len(self._records) + len(self._unwritten) >= MOST_EVENTS:
                self._lost += 1  # told by the writer's thread, once per group
            else:
                self._records.append(record)

    def flush(self) -> None:
        """Wait until all that was posted is on disk, or the database has failed: it is then tried again."""
        waiter = _Waiter()
        with self._wake:
            if self._closed:
                return
            self._flushes.append(waiter)
            self._wake.notify()
        waiter.wait()

    def waiting(self) -> dict[str, float]:
        """Give how many messages wait for their rows to be on disk, and how many records wait to be written."""
        with self._wake:
            return {"messages": len(self._jobs), "records": len(self._records) + len(self._unwritten)}

    def close(self) -> None:
        """Write what is left, then stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        closed = False
        while not closed:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._flushes or self._closed, LINGER_SECONDS)
                jobs, self._jobs = self._jobs, []
                flushes, self._flushes = self._flushes, []
                closed = self._closed
                due = closed or bool(flushes) or time.monotonic() >= self._records_due
                records = self._taken() if due else ()
                lost, self._lost = self._lost, 0
            if lost:
                logger.error("events were lost: the database is too slow or down", count=lost)
            if jobs:
                self._commit(jobs)
            if records or (due and self._unwritten):
                self._record(records, last=closed)
            for flush in flushes:
                flush.finish(None)
            if jobs and not closed:
                time.sleep(GATHER_SECONDS)

    def _taken(self) -> Sequence[Record]:
        """Take the records; on a busy day they go in larger groups than those who wait."""
        self._records_due = time.monotonic() + LINGER_SECONDS
        records, self._records = self._records, []
        return records

    def _commit(self, jobs: Sequence[_Job]) -> None:
        try:
            self._write_rows([row for job in jobs for row in job.rows])
        except StorageError as error:
            for job in jobs:
                job.finish(error)
        except Exception:  # noqa: BLE001 - whatever a row's value made the driver raise
            self._commit_singly(jobs)
        else:
            for job in jobs:
                job.finish(None)

    def _commit_singly(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                self._write_rows(job.rows)
            except Exception as error:  # noqa: BLE001 - the waiting message is told, whatever it was
                job.finish(StorageError(f"the database refuses a row: {error}"))
            else:
                job.finish(None)

    def _record(self, records: Sequence[Record], *, last: bool) -> None:
        with suppress(OSError, ValueError), log.together():  # stderr is gone: nobody can be told, and mail goes on
            for record in records:
                record.tell()
        for record in records:
            self._unwritten += record.events()
        try:
            self._write_events(self._unwritten)
        except StorageError as error:
            if last:
                logger.error("events were lost: the database is down", count=len(self._unwritten))
            else:
                logger.warning("events wait for the database", count=len(self._unwritten), cause=str(error))
                self._records_due = time.monotonic() + _RETRY_SECONDS
            return
        except Exception:  # noqa: BLE001 - whatever an event's value made the driver raise
            self._write_singly(self._unwritten)
        self._unwritten = []

    def _write_singly(self, events: Iterable[Event]) -> None:
        for one in events:
            try:
                self._write_events((one,))
            except Exception as error:  # noqa: BLE001 - one event must not stop the others
                logger.error("an event was lost", queue_id=one.queue_id, cause=cause(error))

    def _write_rows(self, rows: Iterable[Row]) -> None:
        now = datetime.now(UTC)
        groups: dict[type[Row], list[dict[str, Any]]] = {kind: [] for kind in _TABLES}
        for row in rows:
            groups[type(row)].append(_columns(row, now))
        # In the order of their digests two hosts wait for each other, instead of each for the other.
        groups[ExchangeRow].sort(key=lambda columns: columns["digest"])
        self._direct.write([_batch(self._inserts[kind], group) for kind, group in groups.items()])

    def _write_events(self, events: Sequence[Event]) -> None:
        batch = self._event_rows.batch(events)
        while True:
            try:
                self._direct.write([batch])
            except DirectoryError:
                if not self._event_rows.renumber():
                    raise
                batch = self._event_rows.batch(events)
            else:
                self._event_rows.written(batch)
                return


def _batch(statement: Statement, rows: Iterable[dict[str, Any]]) -> Batch:
    return statement.sql, [statement.parameters(row) for row in rows]


def _insert_ignoring_known(database: Database, table: Table) -> Insert:
    if database.is_sqlite:
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def _columns(row: Row, now: datetime) -> dict[str, Any]:
    """Give a row's values by column; what it does not say itself is when it is written."""
    return {column.name: getattr(row, column.name, now) for column in _TABLES[type(row)].columns}
