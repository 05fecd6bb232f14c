"""The grouped writer: durable or told, and nothing lost in silence."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest
from lab.wait import until
from tests.fakes import FakeRecord

from gatepost.db import writer as writer_module
from gatepost.db.engine import Database
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.directory.thread import ThreadRow, hashed
from gatepost.errors import StorageError

Sql = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database, "gw")
    yield writer
    writer.close()


def row(number: int = 1, cause: str = "protected") -> ThreadRow:
    return ThreadRow(hashed(f"<{number}@in.test>"), "a@in.test", "b@out.test", cause)


class TestWriter:
    def test_row_that_is_there_is_as_good(self, writer: Writer, sql: Sql) -> None:
        """A retry of the same message writes its thread row again without an error."""
        writer.commit([row()])
        writer.commit([row()])

        assert sql("SELECT count(*) FROM thread") == [(1,)]

    def test_event_is_written_whole(self, writer: Writer, sql: Sql) -> None:
        """Closing writes what was posted, every column of it."""
        event = Event(
            at=1.5,
            queue_id="Q",
            message_id="<1@in.test>",
            direction="out",
            sender="a@in.test",
            recipient="b@out.test",
            demand="encrypt",
            treatment="openpgp",
            rules=("one", "two"),
            reasons=("because", "so"),
            detail={"queued_as": "R"},
        )
        writer.post(FakeRecord(event))
        writer.close()

        ((number, at, *rest),) = sql("SELECT * FROM event")
        assert number == 1
        assert at in {"1970-01-01 00:00:01.500000", datetime.fromtimestamp(1.5, UTC)}
        assert rest == [
            *("Q", "<1@in.test>", "out", "a@in.test", "b@out.test"),
            *("encrypt", "openpgp", "one\ntwo", "because\nso", '{"queued_as": "R"}'),
            *("message", "gw", 1),
        ]

    def test_waiting_writers_share_a_transaction(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Many who wait cost few syncs to disk."""
        writer = Writer(database, "gw")
        groups: list[int] = []
        commit = writer._commit

        def count(jobs: Sequence[writer_module._Job]) -> None:
            groups.append(len(jobs))
            commit(jobs)

        monkeypatch.setattr(writer, "_commit", count)
        with database.writing() as held_up:  # until all have come
            if not database.is_sqlite:
                held_up.exec_driver_sql("LOCK TABLE thread")
            threads = [threading.Thread(target=writer.commit, args=([row(number)],)) for number in range(20)]
            for thread in threads:
                thread.start()
            while len(writer._jobs) + sum(groups) < 20:
                time.sleep(0.001)
        for thread in threads:
            thread.join()
        writer.close()

        assert sum(groups) == 20
        assert len(groups) <= 3

    def test_failure_reaches_who_waits(self, writer: Writer, sql: Sql) -> None:
        """A message whose thread row is not on disk must not go out: commit raises."""
        sql("DROP TABLE thread")

        with pytest.raises(StorageError, match=r'no such table: thread|"thread" does not exist'):
            writer.commit([row()])

    def test_events_survive_a_failure(self, writer: Writer, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
        """Events that could not be written wait until the database is back; each message is told once."""
        monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.01)
        sql("ALTER TABLE event RENAME TO away")
        first, second = FakeRecord(Event(at=1.0, queue_id="first")), FakeRecord(Event(at=2.0, queue_id="second"))
        writer.post(first)
        until(lambda: writer._unwritten, 20, "the event was tried")
        writer.post(second)
        sql("ALTER TABLE away RENAME TO event")
        writer.close()

        assert sql("SELECT queue_id FROM event ORDER BY id") == [("first",), ("second",)]
        assert (first.told, second.told) == (1, 1)

    def test_flush_waits_for_what_was_posted(self, writer: Writer, sql: Sql) -> None:
        """Once control is back, what was posted before is on disk, without the wait for a larger group."""
        writer.post(FakeRecord(Event(at=1.0, queue_id="first")))
        writer.flush()
        writer.post(FakeRecord(Event(at=2.0, queue_id="second")))
        writer.flush()

        assert sql("SELECT queue_id FROM event ORDER BY id") == [("first",), ("second",)]

    def test_flush_does_not_wait_for_a_database_that_is_down(self, writer: Writer, sql: Sql) -> None:
        """Mail goes on without its events; they are tried again."""
        sql("ALTER TABLE event RENAME TO away")
        writer.post(FakeRecord(Event(at=1.0, queue_id="first")))
        writer.flush()
        sql("ALTER TABLE away RENAME TO event")
        writer.flush()

        assert sql("SELECT queue_id FROM event") == [("first",)]

    def test_log_that_is_gone_stops_no_mail(self, writer: Writer, sql: Sql) -> None:
        """Where nobody reads the log any more, messages go on and their events are kept."""
        writer.post(FakeRecord(Event(at=1.0, queue_id="Q"), fault=BrokenPipeError()))
        writer.commit([row()])
        writer.close()

        assert sql("SELECT queue_id FROM event") == [("Q",)]

    def test_bad_row_spoils_no_other(self, database: Database, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a group with a row that cannot be stored the others are stored, and only its owner is told."""
        monkeypatch.setattr(writer_module.threading, "Thread", _Idle)
        writer = Writer(database, "gw")
        told: list[Exception | None] = []
        rows = (row(1), row(2, "nonsense"), row(3))
        writer._commit([writer_module._Job([one], told.append) for one in rows])
        writer._record(
            [FakeRecord(Event(at=1.0, queue_id=name)) for name in ("good", "\udcff", "last")], last=False
        )

        assert [error is None for error in told] == [True, False, True]
        assert sql("SELECT count(*) FROM thread") == [(2,)]
        assert sql("SELECT queue_id FROM event ORDER BY id") == [("good",), ("last",)]

    def test_who_does_not_wait_is_told(self, writer: Writer, sql: Sql) -> None:
        """Who has rows written without a thread is told once they are on disk, and not before."""
        told: list[tuple[Exception | None, object]] = []
        writer.write([row()], lambda error: told.append((error, sql("SELECT count(*) FROM thread"))))
        until(lambda: told, 20, "it is told")

        assert told == [(None, [(1,)])]

    def test_who_does_not_wait_is_told_of_a_failure(self, writer: Writer, sql: Sql) -> None:
        """Who has rows written without a thread is told what was wrong with them, and others go on."""
        told: list[Exception | None] = []
        writer.write([row(1, "nonsense")], told.append)
        writer.write([row(2)], told.append)
        until(lambda: len(told) == 2, 20, "both are told")
        sql("DROP TABLE thread")
        writer.write([row(3)], told.append)
        until(lambda: len(told) == 3, 20, "it is told")

        assert [type(error) for error in told] == [StorageError, type(None), StorageError]
        assert "the database refuses a row" in str(told[0])

    def test_closed_writer_takes_nothing(self, writer: Writer) -> None:
        """After the drain no message may believe that its row was written."""
        writer.close()

        with pytest.raises(StorageError, match="closed"):
            writer.commit([row()])
        with pytest.raises(StorageError, match="closed"):
            writer.write([row()], pytest.fail)

    def test_overload_is_bounded_and_told(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """What finds no room is counted for the log; who waits is sent away with a temporary error."""
        monkeypatch.setattr(writer_module.threading, "Thread", _Idle)
        monkeypatch.setattr(writer_module, "MOST_EVENTS", 2)
        monkeypatch.setattr(writer_module, "MOST_WAITING", 0)
        writer = Writer(database, "gw")
        for _ in range(3):
            writer.post(FakeRecord(Event(at=1.0)))

        assert (len(writer._records), writer._lost) == (2, 1)
        with pytest.raises(StorageError, match="too slow"):
            writer.commit([row()])
        with pytest.raises(StorageError, match="too slow"):
            writer.write([row()], pytest.fail)


class _Idle:
    """A thread that never runs, so that a test may look at what it would find."""

    def __init__(self, **_options: object) -> None: ...

    def start(self) -> None: ...
