"""The record of events: numbered, stamped, audited; whatever SQL beside us does to it is found and named."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lab.wait import until
from tests.fakes import FakeRecord

from gatepost.crypto.proof import Prover
from gatepost.db import stamps
from gatepost.db.engine import Database
from gatepost.db.events import SqlEvents, Wanted
from gatepost.db.stamps import SqlStamps, snapshot
from gatepost.db.writer import Writer
from gatepost.directory import audit as audit_module
from gatepost.directory.audit import Findings, audit
from gatepost.directory.event import Event
from gatepost.directory.stamp import Stamp
from gatepost.errors import ConfigError, StorageError
from gatepost.workers import stamper as stamper_module
from gatepost.workers.heads import Heads
from gatepost.workers.stamper import Stamper, Stamping

Sql = Callable[..., list[tuple[object, ...]]]
HOST = "gw unix:/run/milter.sock"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LENGTH = 7  # events of the record under test
RUN = 3  # events of one stamp
CHANGES: dict[str, object] = {
    "at": "2026-05-01 12:00:04.000001",
    "kind": "release",
    "queue_id": "Q9",
    "message_id": "<x@y.test>",
    "direction": "in",
    "sender": "eve@p.test",
    "recipient": "eve@p.test",
    "demand": "none",
    "treatment": "pass",
    "rules": "none",
    "reasons": "otherwise",
    "detail": '{"a": 1}',
    "id": 999,
}
STAMP_CHANGES: tuple[tuple[str, object], ...] = (
    ("digests", bytes(96)),
    ("digests", b""),
    ("code", bytes(32)),
    ("previous", bytes(32)),
    ("first", 5),
    ("last", 9),
    ("purged", 1),
    ("at", "2026-05-01 12:00:00.000001"),
)
on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Record:
    """A record in a database, with what a key worker has beside it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.prover = Prover(b"s" * 32)
        self.now = NOW
        self.stamper = self.new_stamper()

    def new_stamper(self, host: str = HOST) -> Stamper:
        return Stamper(
            hosts=[host],
            store=SqlStamps(self.database),
            prover=self.prover,
            heads=Heads(self.folder),
            keep=timedelta(days=30),
            clock=lambda: self.now,
        )

    def write(self, number: int, *, host: str = HOST) -> None:
        writer = Writer(self.database, host)
        for one in range(number):
            event = Event(at=NOW.timestamp() + one, queue_id=f"Q{one}", recipient=f"{one}@p.test", reasons=("so",))
            writer.post(FakeRecord(event))
        writer.close()

    def audit(self, host: str = HOST, *, head: bool = True) -> Findings:
        def prove(some: "list[Stamp] | tuple[Stamp, ...]") -> list[bool]:
            return [self.prover.proves(one.statement(), one.code) for one in some]

        known = Heads(self.folder).of(host) if head else None
        with snapshot(self.database) as record:
            return audit(host, record, prove, known.number if known else None)  # type: ignore[arg-type]

    def breaks(self) -> list[tuple[str, int]]:
        return [(one.fault, one.sequence) for one in self.audit().breaks]


@pytest.fixture
def record(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Give a record of seven events in stamps of three, three and one."""
    monkeypatch.setattr(stamper_module, "_RUN", RUN)
    record = Record(database, tmp_path / "state")
    record.write(LENGTH)
    assert record.stamper.stamp() == LENGTH
    return record


class TestNumbering:
    def test_sequence_goes_on_in_a_new_process(self, record: Record, sql: Sql) -> None:
        """Each writer continues the chain of its host, and each host has one of its own."""
        record.write(2)
        record.write(2, host="other")

        assert sql("SELECT sequence FROM event WHERE host = ? ORDER BY id", HOST) == [(n,) for n in range(1, 10)]
        assert sql("SELECT sequence FROM event WHERE host = 'other' ORDER BY id") == [(1,), (2,)]

    def test_two_processes_of_a_host(self, record: Record, sql: Sql) -> None:
        """A release by command line takes numbers while the milter runs: both are numbered without gap or loss."""
        milter = Writer(record.database, HOST)
        milter.post(FakeRecord(Event(at=1.0, queue_id="A")))
        while not sql("SELECT 1 FROM event WHERE queue_id = 'A'"):
            time.sleep(0.02)
        record.write(2)
        milter.post(FakeRecord(Event(at=1.0, queue_id="B"), Event(at=1.0, queue_id="C")))
        milter.close()

        assert sql("SELECT sequence FROM event WHERE queue_id IN ('B', 'C')") == [(11,), (12,)]
        assert sql("SELECT count(*), max(sequence) FROM event") == [(12, 12)]

    def test_sequence_outlives_expiry(self, record: Record, sql: Sql) -> None:
        """When every event has expired the numbers go on, so the gap shows nothing removed."""
        record.now += timedelta(days=40)
        assert record.stamper.purge() == LENGTH
        record.write(1)

        assert sql("SELECT sequence FROM event") == [(LENGTH + 1,)]
        assert record.audit().broken == 0


class TestAudit:
    def test_untouched(self, record: Record) -> None:
        """A record that nobody touched has no differences; what is not stamped yet is counted."""
        record.write(2)
        found = record.audit()

        assert (found.events, found.stamps, found.unstamped, found.breaks) == (9, 3, 2, ())

    def test_changed(self, record: Record, sql: Sql) -> None:
        """A change in any column of an event is found, and the event named."""
        for column, value in CHANGES.items():
            ((before,),) = sql(f"SELECT {column} FROM event WHERE sequence = 5")  # noqa: S608 - names from above
            sql(f"UPDATE event SET {column} = ? WHERE sequence = 5", value)  # noqa: S608 - the same
            assert record.breaks() == [("changed", 5)], column
            sql(f"UPDATE event SET {column} = ? WHERE {column} = ?", before, value)  # noqa: S608 - the same
        assert record.breaks() == []

    @pytest.mark.parametrize(
        ("change", "value", "found"),
        [
            ("event SET at = ? WHERE sequence = 5", "nonsense", ("changed", 5)),
            ("event SET reasons = ? WHERE sequence = 5", b"so", ("changed", 5)),
            ("event SET sequence = ? WHERE sequence = 5", "five", ("inserted", 0)),
            ("stamp SET at = ? WHERE number = 2", "nonsense", ("changed", 4)),
            ("stamp SET digests = ? WHERE number = 2", "text", ("changed", 4)),
            ("stamp SET number = ? WHERE number = 2", "two", ("changed", 4)),
        ],
    )
    @on_sqlite
    def test_values_of_another_type(
        self, record: Record, sql: Sql, change: str, value: object, found: object
    ) -> None:
        """SQLite lets any value stand in any column; the audit names it all the same."""
        sql(f"UPDATE {change}", value)

        assert found in record.breaks()

    @on_sqlite
    @pytest.mark.parametrize("sequence", range(1, LENGTH + 1))
    def test_removed(self, record: Record, sql: Sql, sequence: int) -> None:
        """A removed event is named, the first and the last as well."""
        sql("DELETE FROM event WHERE sequence = ?", sequence)

        assert record.breaks() == [("removed", sequence)]

    def test_removed_before_it_was_stamped(self, record: Record, sql: Sql) -> None:
        """A gap in the numbers tells of an event that was removed within the second before its stamp."""
        record.write(3)
        sql("DELETE FROM event WHERE sequence = ?", LENGTH + 2)
        assert record.breaks() == [("removed", LENGTH + 2)]

        record.stamper.stamp()
        assert record.breaks() == [("removed", LENGTH + 2)]

    @pytest.mark.parametrize("sequence", [0, -5])
    def test_inserted(self, record: Record, sql: Sql, sequence: int) -> None:
        """An event that was slipped in among stamped ones is named."""
        sql("INSERT INTO event (at, host, sequence) VALUES ('2026-05-01 00:00:00', ?, ?)", HOST, sequence)

        assert record.breaks() == [("inserted", sequence)]

    def test_inserted_in_the_place_of_another(self, record: Record, sql: Sql) -> None:
        """Where the unique index is dropped and an event doubled, the second of them is named."""
        sql("DROP INDEX event_host_sequence")
        sql("INSERT INTO event (at, host, sequence) VALUES ('2026-05-01 00:00:00', ?, 2)", HOST)

        assert record.breaks() == [("inserted", 2)]

    def test_moved(self, record: Record, sql: Sql) -> None:
        """Two events that changed places are both named."""
        sql("UPDATE event SET sequence = 99 WHERE sequence = 4")
        sql("UPDATE event SET sequence = 4 WHERE sequence = 5")
        sql("UPDATE event SET sequence = 5 WHERE sequence = 99")

        assert record.breaks() == [("moved", 4), ("moved", 5)]

    def test_tail_cut(self, record: Record, sql: Sql) -> None:
        """The latest events cannot be cut off, stamps or no."""
        sql("DELETE FROM event WHERE sequence > 4")

        assert record.breaks() == [("removed", 5), ("removed", 7)]

    def test_tail_cut_with_its_stamps(self, record: Record, sql: Sql) -> None:
        """Nor together with their stamps: the key worker knows its latest one."""
        sql("DELETE FROM event WHERE sequence > 3")
        sql("DELETE FROM stamp WHERE number > 1")

        assert record.breaks() == [("cut", 4)]
        assert record.audit(head=False).broken == 0  # what another host's key worker would know

    def test_everything_cut(self, record: Record, sql: Sql) -> None:
        """Nor can all of it be wiped."""
        sql("DELETE FROM event")
        sql("DELETE FROM stamp")

        assert record.breaks() == [("cut", 1)]

    def test_cut_is_not_healed(self, record: Record, sql: Sql) -> None:
        """After a cut the key worker goes on, stamps what is new, and the audit keeps naming what is missing."""
        sql("DELETE FROM event WHERE sequence > 3")
        sql("DELETE FROM stamp WHERE number > 1")
        record.write(2)
        assert record.new_stamper().stamp() == 2

        assert record.breaks() == [("cut", 4)]
        assert sql("SELECT number, first, last FROM stamp WHERE number > 1") == [(4, 4, 5)]
        sql("UPDATE event SET treatment = 'x' WHERE sequence = 5")
        assert record.breaks() == [("cut", 4), ("changed", 5)]

    def test_stamp_removed(self, record: Record, sql: Sql) -> None:
        """A missing stamp is told by the first event that it covered."""
        sql("DELETE FROM stamp WHERE number = 2")

        assert record.breaks()[0] == ("cut", 4)

    def test_stamp_changed(self, record: Record, sql: Sql) -> None:
        """A stamp that the key worker did not make proves nothing."""
        for column, value in STAMP_CHANGES:
            ((before,),) = sql(f"SELECT {column} FROM stamp WHERE number = 2")  # noqa: S608 - names from above
            sql(f"UPDATE stamp SET {column} = ? WHERE number = 2", value)  # noqa: S608 - the same
            found = [one.sequence for one in record.audit().breaks if "stamp 2 was not made" in one.text]
            assert found == [value if column == "first" else 4], column
            sql(f"UPDATE stamp SET {column} = ? WHERE number = 2", before)  # noqa: S608 - the same
        assert record.breaks() == []

    def test_stamps_of_another_key(self, record: Record, sql: Sql) -> None:
        """Whoever rewrites events and stamps without the key is found; later events are stamped all the same."""
        sql("UPDATE event SET recipient = 'eve@p.test' WHERE sequence = 5")
        sql("DELETE FROM stamp")
        forger = Record(record.database, record.folder / "forger")
        forger.prover = Prover(b"f" * 32)
        forger.new_stamper().stamp()
        assert record.breaks()[0] == ("changed", 1)

        record.write(1)
        head = Heads(record.folder).of(HOST)
        assert record.new_stamper().stamp() == 1
        ((first, last, previous),) = sql("SELECT first, last, previous FROM stamp ORDER BY number DESC LIMIT 1")
        assert (first, last) == (LENGTH + 1, LENGTH + 1)
        assert head is not None
        assert previous == head.code  # not the forger's

    @on_sqlite
    def test_nonsense_stops_neither_writing_nor_stamping(self, record: Record, sql: Sql) -> None:
        """What somebody else writes into the tables is found, and what comes after it is numbered and stamped."""
        sql("UPDATE stamp SET number = 'two' WHERE number = 3")
        sql("UPDATE event SET sequence = 'five' WHERE sequence = 5")
        sql("UPDATE event SET detail = 'nonsense' WHERE sequence = 1")
        record.write(2)

        assert record.new_stamper().stamp() == 2
        assert sql("SELECT number, first, last FROM stamp WHERE number = 4") == [(4, LENGTH + 1, LENGTH + 2)]
        assert record.audit().broken
        (found,) = [one for one in SqlEvents(record.database).wanted(Wanted(), 100) if one.sequence == 1]
        assert found.event.detail == {"unreadable": "nonsense"}

    def test_stamp_of_another_host(self, record: Record, sql: Sql) -> None:
        """A chain cannot be lent to another host."""
        sql("UPDATE stamp SET host = 'other'")
        sql("UPDATE event SET host = 'other'")

        assert record.audit("other").broken == 3

    def test_many_differences_are_counted(self, record: Record, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first differences are told, all are counted."""
        monkeypatch.setattr(audit_module, "MOST", 2)
        sql("UPDATE event SET treatment = 'x'")
        found = record.audit()

        assert (len(found.breaks), found.broken) == (2, LENGTH)

    def test_long_chains_are_read_in_pieces(
        self, record: Record, sql: Sql, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long the chain, few stamps are read at a time."""
        monkeypatch.setattr(stamps, "_AT_ONCE", 2)
        sql("UPDATE event SET treatment = 'x' WHERE sequence = 7")

        assert record.breaks() == [("changed", 7)]


class TestExpiry:
    def test_old_events_go_and_the_rest_is_proven(self, record: Record, sql: Sql) -> None:
        """Expiry deletes events with their stamps; what is left is verified as before, and can go later."""
        record.now += timedelta(days=20)
        record.write(4)
        record.stamper.stamp()
        record.now += timedelta(days=20)

        assert record.stamper.purge() == LENGTH
        assert record.breaks() == []
        assert sql("SELECT min(sequence), max(sequence) FROM event") == [(LENGTH + 1, LENGTH + 4)]
        assert sql("SELECT min(number) FROM stamp") == [(4,)]
        sql("DELETE FROM event WHERE sequence = ?", LENGTH + 1)
        assert record.breaks() == [("removed", LENGTH + 1)]

    def test_purge_of_someone_else(self, record: Record, sql: Sql) -> None:
        """Events that were deleted together with their stamps, but not by expiry, are missed."""
        sql("DELETE FROM event WHERE sequence <= 3")
        sql("DELETE FROM stamp WHERE number = 1")

        assert record.breaks() == [("cut", 1)]

    def test_what_expired_does_not_come_back(self, record: Record, sql: Sql) -> None:
        """Events and stamps that were deleted, put back from a backup, are named."""
        events, old = sql("SELECT * FROM event WHERE sequence = 1"), sql("SELECT * FROM stamp WHERE number = 1")
        record.now += timedelta(days=40)
        record.stamper.purge()
        for table, (row,) in (("event", events), ("stamp", old)):
            sql(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", *row)  # noqa: S608 - names from above

        assert record.breaks() == [("inserted", 1), ("inserted", 1)]

    def test_other_hosts_and_unchained(self, record: Record, sql: Sql) -> None:
        """Events of hosts that are no more, and those older than stamps, expire as well."""
        record.write(2, host="gone")
        record.new_stamper("gone").stamp()
        sql("INSERT INTO event (at, host, sequence) VALUES ('2026-05-01 00:00:00', '', 1000)")
        with snapshot(record.database) as now:
            assert (now.unchained(), now.hosts()) == (1, ("gone", HOST))
        record.now += timedelta(days=40)

        assert record.new_stamper().purge() == LENGTH + 3
        assert sql("SELECT count(*) FROM event") == [(0,)]
        assert record.audit("gone").broken == 0


class TestStamper:
    def test_heads_are_kept(self, record: Record) -> None:
        """A new key worker goes on where the last one ended."""
        head = Heads(record.folder).of(HOST)
        assert head is not None
        assert (head.number, head.last) == (3, LENGTH)
        assert record.folder.stat().st_mode & 0o077 == 0

        record.write(1)
        assert record.new_stamper().stamp() == 1
        assert record.breaks() == []

    def test_head_that_was_not_written(self, record: Record) -> None:
        """A crash between stamp and head loses nothing: the stamp proves itself."""
        (record.folder / "heads.json").unlink()
        record.write(1)
        record.new_stamper().stamp()

        assert record.breaks() == []

    @on_sqlite
    @pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": ["x", 1, "zz"]}'])
    def test_heads_that_cannot_be_read(self, record: Record, text: str) -> None:
        """A damaged file is told with its name and what to do."""
        (record.folder / "heads.json").write_text(text)

        with pytest.raises(ConfigError, match=r"heads\.json"):
            Heads(record.folder)

    def test_state_that_cannot_be_made(self, tmp_path: Path) -> None:
        """A directory that cannot be made is told at start."""
        (tmp_path / "file").write_text("")

        with pytest.raises(ConfigError, match=r"keys\.state"):
            Heads(tmp_path / "file" / "state")

    def test_database_that_fails(self, record: Record, sql: Sql) -> None:
        """A database that is down delays stamps; the thread lives on and stamps when it is back."""
        sql("ALTER TABLE stamp RENAME TO away")
        with pytest.raises(StorageError):
            record.stamper.stamp()
        stamping = Stamping(record.stamper, seconds=0.01)
        record.write(1, host="other")
        sql("ALTER TABLE away RENAME TO stamp")
        record.write(2)
        stamping.close()

        assert record.audit().unstamped == 0

    @on_sqlite
    def test_a_fault_of_ours_does_not_end_stamping(self, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever a try raised, the next one may succeed."""
        stamp, tries = record.stamper.stamp, []

        def fail_first() -> int:
            tries.append(1)
            if len(tries) == 1:
                raise ZeroDivisionError
            return stamp()

        monkeypatch.setattr(record.stamper, "stamp", fail_first)
        record.write(1)
        stamping = Stamping(record.stamper, seconds=0.01)
        until(lambda: len(tries) > 1, 30, "a second try")
        stamping.close()

        assert record.audit().unstamped == 0

    def test_writers_stamper_and_audit_at_once(self, record: Record) -> None:
        """Two writing processes, the stamper and audits side by side: no number twice, no false alarm."""
        stamping = Stamping(record.new_stamper(), seconds=0.005)

        def write() -> None:
            for _ in range(5):
                record.write(4)

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        found = [record.audit(head=False) for _ in range(5)]
        for writer in writers:
            writer.join()
        stamping.close()
        found.append(record.audit())

        assert [one.breaks for one in found] == [()] * 6
        assert (found[-1].events, found[-1].unstamped) == (LENGTH + 40, 0)
