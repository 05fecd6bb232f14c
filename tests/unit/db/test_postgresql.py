"""A real PostgreSQL: how it is reached, what is told when it is not, and that a lost connection loses nothing."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from uuid import uuid4

import pytest
from lab.place import free_port
from lab.postgresql import PASSWORD, ROLE, PostgreSQL
from lab.wait import until
from tests.fakes import FakeRecord

from gatepost.db import postgresql as ours
from gatepost.db import schema
from gatepost.db.engine import Database
from gatepost.db.journal import SqlJournal
from gatepost.db.notices import SqlNotices
from gatepost.db.threads import SqlThreads
from gatepost.db.writer import Writer
from gatepost.decision.plan import Answer, Plan
from gatepost.directory.event import Event
from gatepost.directory.thread import ThreadRow, hashed
from gatepost.errors import ConfigError, StorageError
from gatepost.gateway.entry import Entry, Lease

pytestmark = pytest.mark.real

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def url(new_database: Callable[[str], str]) -> str:
    return new_database("postgresql")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def _told(database: Database) -> str:
    with pytest.raises(StorageError) as caught, database.reading():
        pass
    assert caught.value.temporary
    (line,) = caught.value.diagnostics()
    database.close()
    return line


class TestReaching:
    def test_over_tcp_with_a_password(self, postgresql: PostgreSQL, database: Database) -> None:
        """A password in the URL is used; one of the site's secrets where the URL has none."""
        where = f"127.0.0.1:{postgresql.port}/{database.url.database}"
        for url, password in [
            (f"postgresql+psycopg://{ROLE}:{PASSWORD}@{where}", "another"),
            (f"postgresql+psycopg://{ROLE}@{where}", PASSWORD),
        ]:
            schema.check(reached := Database(url, password))
            reached.close()

    def test_a_wrong_password_is_not_told(self, postgresql: PostgreSQL) -> None:
        """What the server refuses is told in one line, with who and where, without the password."""
        where = f"127.0.0.1:{postgresql.port}/migrated"
        told = _told(Database(f"postgresql+psycopg://{ROLE}:secret-word@{where}"))

        assert f'password authentication failed for user "{ROLE}"' in told
        assert f"postgresql+psycopg://{ROLE}:***@{where}" in told
        assert "secret-word" not in told

    def test_a_password_in_the_query_is_not_told(self, postgresql: PostgreSQL) -> None:
        """Nor is one that stands among libpq's keywords."""
        query = f"host=127.0.0.1&port={postgresql.port}&password=secret-word"
        told = _told(Database(f"postgresql+psycopg://{ROLE}@/migrated?{query}"))

        assert "password authentication failed" in told
        assert "secret-word" not in told

    def test_no_server(self) -> None:
        """A server that is not there is told in one line, with its address."""
        port = free_port()
        told = _told(Database(f"postgresql+psycopg://{ROLE}@localhost:{port}/gatepost"))

        assert str(port) in told
        assert "Connection refused" in told

    def test_no_database(self, postgresql: PostgreSQL) -> None:
        """A database that is not there is named."""
        assert 'database "nowhere" does not exist' in _told(Database(postgresql.url("nowhere")))

    def test_no_schema(self, new_database: Callable[..., str]) -> None:
        """An empty database says what to run."""
        database = Database(new_database("postgresql", empty=True))
        with pytest.raises(ConfigError, match="no Gatepost schema: run `gatepost db upgrade`"):
            schema.check(database)
        database.close()


class TestConnections:
    def test_commits_are_on_disk_whatever_the_default(self, postgresql: PostgreSQL, database: Database) -> None:
        """A server that was told not to wait for its disk is told otherwise; one that waits for more is left."""
        name = str(database.url.database)
        for default, expected in [("off", "on"), ("remote_apply", "remote_apply")]:
            postgresql.psql(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
            database.close()
            with database.writing() as connection:
                assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected

    def test_isolation(self, postgresql: PostgreSQL, database: Database) -> None:
        """Leases rely on READ COMMITTED, whatever the server's default."""
        name = str(database.url.database)
        postgresql.psql(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        with database.writing() as connection:
            assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"

    def test_they_are_bounded(self, postgresql: PostgreSQL, database: Database) -> None:
        """However many threads look up, the server sees no more connections than one process may have."""
        threads = SqlThreads(database)
        ready = threading.Barrier(60)

        def look_up() -> None:
            ready.wait(60)
            for _ in range(20):
                threads.known([bytes(32)])

        running = [threading.Thread(target=look_up) for _ in range(60)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        ours_there = "datname = current_database() AND application_name = 'gatepost'"
        asked = f"SELECT count(*) FROM pg_stat_activity WHERE {ours_there}"  # noqa: S608 - our own words

        assert 1 <= int(postgresql.psql(asked, str(database.url.database))) <= ours.CONNECTIONS
        assert database.reader.pool.checkedout() == 0


def _row(number: int) -> ThreadRow:
    return ThreadRow(hashed(f"<{number}@in.test>"), "a@in.test", "b@out.test", "protected")


def _entry() -> Entry:
    return Entry(bytes(32), uuid4(), "4QID", Plan(Answer.DISCARD, (), ()), ())


class TestLostConnections:
    def _cut(self, postgresql: PostgreSQL, database: Database) -> None:
        """End every connection, as a server does that is restarted."""
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"  # noqa: S608 - our own
        postgresql.psql(ending, str(database.url.database))

    def test_a_restart_between_messages_is_not_seen(self, postgresql: PostgreSQL, database: Database) -> None:
        """Connections that died while nobody used them cost no look-up and no write."""
        writer, threads, journal = Writer(database, "gw"), SqlThreads(database), SqlJournal(database)
        for number in range(3):
            assert not threads.known([hashed(f"<{number}@in.test>")])
            writer.commit([_row(number)])
            assert threads.known([hashed(f"<{number}@in.test>")])
            assert journal.find(bytes(32)) is None
            self._cut(postgresql, database)
        writer.close()

    def test_a_crash_loses_nothing_that_was_promised(self, postgresql: PostgreSQL, database: Database) -> None:
        """What was committed survives a crash of the server; meanwhile all fails closed; then all goes on."""
        journal, writer = SqlJournal(database), Writer(database, "gw")
        entry = _entry()
        writer.commit([_row(1)])
        assert journal.add(entry, Lease("host", uuid4(), NOW + timedelta(minutes=2)), NOW, over_settled=False)
        postgresql.stop(signal.SIGQUIT)
        try:
            writer.post(FakeRecord(Event(at=1.0, queue_id="meanwhile")))
            for act in (
                lambda: journal.find(entry.key),
                lambda: SqlThreads(database).known([bytes(32)]),
                lambda: writer.commit([_row(2)]),
            ):
                with pytest.raises(StorageError, match=r"failed: .*connection"):
                    act()
        finally:
            postgresql.start()

        assert journal.find(entry.key) == entry
        assert SqlThreads(database).known([hashed("<1@in.test>")])
        assert not SqlThreads(database).known([hashed("<2@in.test>")])
        writer.commit([_row(2)])
        writer.close()
        name = str(database.url.database)
        assert postgresql.psql("SELECT queue_id FROM event", name).split() == ["meanwhile"]

    def test_cut_in_a_transaction(self, postgresql: PostgreSQL, database: Database) -> None:
        """A transaction whose connection is cut leaves nothing, and says so."""
        with pytest.raises(StorageError), database.writing() as connection:  # noqa: PT012 - two steps are the point
            connection.exec_driver_sql("INSERT INTO partner (pattern) VALUES ('a.test')")
            self._cut(postgresql, database)
        name = str(database.url.database)

        assert postgresql.psql("SELECT count(*) FROM partner", name).strip() == "0"

    def test_a_connection_that_cannot_be_tidied_up(
        self, postgresql: PostgreSQL, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A connection that is given back dead, in a transaction, prints no traceback."""
        connection = database.writer.raw_connection()
        connection.cursor().execute("SELECT 1")
        self._cut(postgresql, database)
        connection.close()

        assert caplog.records == []


def _together(acts: Sequence[Callable[[], bool]]) -> list[bool]:
    """Let each act in a thread of its own, all at the same moment; give what each got."""
    ready = threading.Barrier(len(acts))

    def run(act: Callable[[], bool]) -> bool:
        ready.wait(60)
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


class TestTwoHosts:
    """Two processes of two hosts; here two databases opened on the same server."""

    @pytest.fixture
    def hosts(self, url: str) -> Iterator[list[Database]]:
        hosts = [Database(url), Database(url)]
        yield hosts
        for host in hosts:
            host.close()

    @pytest.mark.parametrize("over_settled", [False, True])
    def test_one_begins(self, hosts: list[Database], *, over_settled: bool) -> None:
        """Of many tries of a message that come at the same moment, one writes the entry."""
        stores = [SqlJournal(host) for host in hosts]
        if over_settled:
            old = Entry(bytes(32), uuid4(), "4OLD", Plan(Answer.DISCARD, (), ()), (), settled=True)
            stores[0].add(old, Lease("host", uuid4(), NOW), NOW, over_settled=False)
        for _ in range(5):
            got = _together(
                [
                    partial(store.add, _entry(), Lease("host", uuid4(), NOW), NOW, over_settled=over_settled)
                    for store in stores * 6
                ]
            )
            assert got.count(True) == 1
            with hosts[0].writing() as connection:
                connection.exec_driver_sql(
                    "UPDATE journal SET settled = true" if over_settled else "DELETE FROM journal"
                )

    def test_one_takes_the_lease(self, hosts: list[Database]) -> None:
        """Of many that find a lease over, one gets it, and it alone can write."""
        stores = [SqlJournal(host) for host in hosts]
        entry = _entry()
        stores[0].add(entry, Lease("dead", uuid4(), NOW), NOW, over_settled=False)
        later = [NOW + timedelta(minutes=minute) for minute in range(6)]
        for begin, end in pairwise(later):
            leases = [Lease(f"host {number}", uuid4(), end) for number in range(12)]
            hands = list(zip(stores * 6, leases, strict=True))
            claimed = _together([partial(store.claim, entry.key, lease, begin) for store, lease in hands])
            saved = _together([partial(store.save, entry, lease, begin) for store, lease in hands])

            assert claimed.count(True) == 1
            assert saved == claimed

    def test_notices_are_claimed_once_and_counted(self, hosts: list[Database]) -> None:
        """The same notice goes once, and nobody gets more than the limit, whoever asks at the same moment."""
        logs = [SqlNotices(host) for host in hosts]
        same = _together([partial(log.claim, b"same" * 8, "a@in.test", NOW, 99) for log in logs * 6])
        others = _together([partial(log.claim, uuid4().bytes, "b@in.test", NOW, 3) for log in logs * 6])

        assert same.count(True) == 1
        assert others.count(True) == 3

    def test_both_upgrade(self, postgresql: PostgreSQL, new_database: Callable[..., str]) -> None:
        """A host that upgrades waits for another that does, and finds all done."""
        url = new_database("postgresql", empty=True)
        hosts = [Database(url), Database(url)]
        second = threading.Thread(target=schema.upgrade, args=(hosts[1],))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with hosts[0].writing() as first:
            first.exec_driver_sql(schema.TAKE_TURNS)
            second.start()
            until(lambda: postgresql.psql(waiting).strip() == "1", 60, "the second waits")
            first.connection.driver_connection.execute(schema.ddl("postgresql"))
        second.join()

        schema.check(hosts[1])
        for host in hosts:
            host.close()
