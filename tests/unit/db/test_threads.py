"""The thread table, looked up and written through the grouped writer."""

import re
from collections.abc import Callable, Iterator

import pytest

from gatepost.db.engine import Database
from gatepost.db.threads import SqlThreads
from gatepost.db.writer import Writer
from gatepost.directory.thread import Sent, ThreadRow, hashed

Sql = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database, "gw")
    yield writer
    writer.close()


def row(number: int = 1, cause: str = "protected") -> ThreadRow:
    return ThreadRow(hashed(f"<{number}@in.test>"), "a@in.test", "b@out.test", cause)


class TestThreads:
    def test_committed_row_is_known_at_once(self, writer: Writer, database: Database) -> None:
        """What was protected a moment ago is protected in the reply."""
        threads = SqlThreads(database)
        assert not threads.known([hashed("<1@in.test>")])
        writer.commit([row()])
        assert threads.known([hashed("<1@in.test>")])

    @pytest.mark.parametrize("position", [0, 7, 8, 99])
    def test_any_reference_counts(self, writer: Writer, database: Database, position: int) -> None:
        """However long References is, one known Message-ID is enough."""
        writer.commit([row()])
        references = [hashed(f"<{number}@elsewhere.test>") for number in range(100)]
        assert not SqlThreads(database).known(references)
        references[position] = hashed("<1@in.test>")
        assert SqlThreads(database).known(references)

    def test_an_earlier_try_does_not_count(self, writer: Writer, database: Database) -> None:
        """A message that is tried again is decided as at first; one that others wrote or that came in counts."""
        threads = SqlThreads(database)
        writer.commit([row(1), row(2, "decrypted")])

        assert not threads.known([hashed("<1@in.test>")], sent=Sent(hashed("<1@in.test>"), "a@in.test"))
        assert threads.known([hashed("<1@in.test>")], sent=Sent(hashed("<1@in.test>"), "other@in.test"))
        assert threads.known([hashed("<1@in.test>")], sent=Sent(hashed("<3@in.test>"), "a@in.test"))
        assert threads.known([hashed("<2@in.test>")], sent=Sent(hashed("<2@in.test>"), "a@in.test"))

    def test_no_reference(self, database: Database) -> None:
        """A message without Message-IDs belongs to no thread."""
        assert not SqlThreads(database).known([])

    @pytest.mark.parametrize("several", [False, True])
    def test_look_up_searches(self, database: Database, sql: Sql, several: bool) -> None:
        """The look-up, made for every message, is an index search."""
        threads = SqlThreads(database)
        statement = threads._for_several if several else threads._for_one
        values = statement.parameters(dict.fromkeys([*threads._names, "own", "sender"], b"x" * 32))
        if database.is_sqlite:
            command, expected = "EXPLAIN QUERY PLAN", r"^SEARCH thread USING PRIMARY KEY \(message_id=\?\)$"
        else:
            command, expected = "EXPLAIN", "(on|using) thread_pkey"
            sql(_MANY)  # in a short table PostgreSQL rightly reads all of it
            sql("ANALYZE")
            values["sender"] = "a@in.test"
        with database.reading() as connection:
            plan = connection.exec_driver_sql(f"{command} {statement.sql}", values).all()
        lines = "\n".join(str(line[-1]) for line in plan)

        assert re.search(expected, lines), lines
        assert "Seq Scan" not in lines


_MANY = """
    INSERT INTO thread
    SELECT sha256(i::text::bytea), 'a@in.test', 'b@out.test', 'protected', now()
    FROM generate_series(1, 20000) AS i
"""
