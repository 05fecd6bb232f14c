"""What monitoring counts in the tables."""

from collections.abc import Callable

import pytest
from tests.fakes import FakeRecord

from gatepost.db.counts import SqlCounts
from gatepost.db.engine import Database
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.errors import StorageError

Sql = Callable[..., list[tuple[object, ...]]]


def test_held_copies_and_open_entries(database: Database, sql: Sql) -> None:
    """Only copies that are still held count, and only entries without a verdict."""
    counts = SqlCounts(database)
    assert (counts.held(), counts.open_entries()) == (0, 0)
    for number, state in enumerate(("held", "released", "held", "deleted")):
        sql(
            "INSERT INTO held (id, since, expires, state) VALUES (?, '2026-05-01', '2026-05-08', ?)",
            str(number),
            state,
        )
    for number, settled in enumerate((True, False)):
        values = bytes([number]) * 32, str(number), settled
        sql(
            "INSERT INTO journal (key, id, settled, lease, at) VALUES (?, ?, ?, '2026-05-01', '2026-05-01')",
            *values,
        )

    assert (counts.held(), counts.open_entries()) == (2, 1)


def test_unstamped_events(database: Database, sql: Sql) -> None:
    """Events of this host beyond its latest stamp count; those of others do not."""
    for host in ("gw", "other"):
        writer = Writer(database, host)
        writer.post(FakeRecord(*(Event(at=1.0) for _ in range(3))))
        writer.close()
    counts = SqlCounts(database)
    assert counts.unstamped("gw") == 3
    sql(
        "INSERT INTO stamp (host, number, at, first, last, digests, purged, previous, code)"
        " VALUES ('gw', 1, '2026-05-01', 1, 2, ?, 0, ?, ?)",
        bytes(64),
        bytes(32),
        bytes(32),
    )

    assert (counts.unstamped("gw"), counts.unstamped("other")) == (1, 3)


def test_failure_is_a_storage_error(database: Database, sql: Sql) -> None:
    """A table that cannot be read is told as every failure of the database."""
    sql("DROP TABLE held")

    with pytest.raises(StorageError):
        SqlCounts(database).held()
