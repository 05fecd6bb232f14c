"""The cache of look-ups: shared, bounded in time, and never believed where it cannot be read."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gatepost.db.discoveries import SqlDiscoveries, SqlPolicies
from gatepost.db.engine import Database
from gatepost.errors import StorageError
from gatepost.transport.capability import Discovery, Method
from gatepost.transport.kept_policies import KeptPolicy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FOUND = Discovery(
    hop="partner.test",
    hosts=("mx1.partner.test", "mx2.partner.test"),
    dane=Method(assured=True, policy="dane-only", steps=("TLSA at mx1", "TLSA at mx2")),
    sts=Method(assured=False, unknown=True, steps=("TXT: no answer",)),
    steps=("MX: mx1, mx2",),
    seconds=600,
)
POLICY = KeptPolicy("partner.test", "20260501", "version: STSv1\r\nmode: none\r\n", NOW, 86_400)

Sql = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def kept(database: Database) -> SqlDiscoveries:
    return SqlDiscoveries(database)


@pytest.fixture
def policies(database: Database) -> SqlPolicies:
    return SqlPolicies(database)


def test_what_is_kept_is_found(kept: SqlDiscoveries) -> None:
    """What one host looked up another finds, whole, with the seconds that are left of it."""
    kept.keep(FOUND, NOW)

    assert kept.find("partner.test", NOW + timedelta(seconds=100)) == replace(FOUND, seconds=500)
    assert kept.find("other.test", NOW) is None


def test_it_ends(kept: SqlDiscoveries) -> None:
    """What is over is not found, to the second."""
    kept.keep(FOUND, NOW)

    assert kept.find("partner.test", NOW + timedelta(seconds=599)) is not None
    assert kept.find("partner.test", NOW + timedelta(seconds=600)) is None


def test_the_latest_counts(kept: SqlDiscoveries) -> None:
    """A later look-up takes the place of the former one."""
    kept.keep(FOUND, NOW)
    none = replace(FOUND, dane=Method(assured=False, steps=("no TLSA",)), seconds=60)
    kept.keep(none, NOW + timedelta(seconds=1))

    assert kept.find("partner.test", NOW + timedelta(seconds=1)) == none


def test_a_day_at_most(kept: SqlDiscoveries) -> None:
    """Whatever a TTL says, nothing is kept for more than a day."""
    kept.keep(replace(FOUND, seconds=10**6), NOW)

    assert kept.find("partner.test", NOW + timedelta(hours=23)) is not None
    assert kept.find("partner.test", NOW + timedelta(hours=24)) is None


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"dane": {"assured": true, "policy": "may"}}'])
def test_what_cannot_be_read_is_absent(
    kept: SqlDiscoveries, sql: Sql, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """A row that an admin or a fault has spoilt assures nothing and stops nothing: one line tells of it."""
    kept.keep(FOUND, NOW)
    sql("UPDATE discovery SET found = ?", text)

    assert kept.find("partner.test", NOW) is None
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "partner.test" in told[0]


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-05-01 12:06:00+00:00", "2026-05-01 13:00:00+00:00"),
        ("2026-05-01 12:00:00+00:00", "2099-01-01 00:00"),
    ],
)
def test_times_that_no_look_up_gives(kept: SqlDiscoveries, sql: Sql, at: str, until: str) -> None:
    """A row that claims to come from the future, or to hold for years, is not believed."""
    kept.keep(FOUND, NOW)
    sql("UPDATE discovery SET at = ?, until = ?", at[:19], until[:19])

    assert kept.find("partner.test", NOW) is None


def test_a_clock_that_differs_a_little(kept: SqlDiscoveries) -> None:
    """A row of a host whose clock is ahead is found, and holds no longer than was given."""
    kept.keep(FOUND, NOW + timedelta(minutes=4))

    found = kept.find("partner.test", NOW)
    assert found is not None
    assert found.seconds == FOUND.seconds


def test_a_time_that_is_none(sqlite: Database) -> None:
    """SQLite keeps any text as a time; such a row is absent, for policies as well."""
    SqlDiscoveries(sqlite).keep(FOUND, NOW)
    SqlPolicies(sqlite).put(POLICY)
    with sqlite.writing() as connection:
        connection.exec_driver_sql("UPDATE discovery SET until = 'tomorrow'")
        connection.exec_driver_sql("UPDATE sts_policy SET fetched = 'some day', until = 'some day'")

    assert SqlDiscoveries(sqlite).find("partner.test", NOW) is None
    assert SqlPolicies(sqlite).get("partner.test") is None


def test_what_has_long_been_over_is_deleted(kept: SqlDiscoveries, policies: SqlPolicies, sql: Sql) -> None:
    """Expiry takes what has been over for a day, discoveries and policies, and leaves the rest."""
    kept.keep(FOUND, NOW)
    kept.keep(replace(FOUND, hop="later.test"), NOW + timedelta(days=2))
    policies.put(POLICY)
    policies.put(replace(POLICY, domain="later.test", max_age=10 * 86_400))

    assert kept.purge(NOW + timedelta(hours=47)) == 1
    assert kept.purge(NOW + timedelta(hours=49)) == 1
    assert sql("SELECT hop FROM discovery") == [("later.test",)]
    assert sql("SELECT domain FROM sts_policy") == [("later.test",)]


def test_policies(policies: SqlPolicies) -> None:
    """The last good policy is found as it was fetched, also once it is over: who asks judges that."""
    assert policies.get("partner.test") is None
    policies.put(POLICY)
    assert policies.get("partner.test") == POLICY

    later = replace(POLICY, id="2", fetched=NOW + timedelta(hours=1), max_age=0)
    policies.put(later)
    assert policies.get("partner.test") == later


def test_an_older_policy_does_not_come_back(policies: SqlPolicies) -> None:
    """Of two hosts that fetch at once, the later fetch stays."""
    later = replace(POLICY, id="2", fetched=NOW + timedelta(hours=1))
    policies.put(later)
    policies.put(POLICY)

    assert policies.get("partner.test") == later


def test_a_row_that_the_table_refuses(policies: SqlPolicies) -> None:
    """A policy that the constraints refuse is an error of the store, which the caller goes on without."""
    with pytest.raises(StorageError, match="refuses the row"):
        policies.put(replace(POLICY, text="x" * 65_537))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO discovery VALUES ('', '{}', '2026-05-01', '2026-05-01')",
        "INSERT INTO discovery VALUES ('Partner.test', '{}', '2026-05-01', '2026-05-01')",
        "INSERT INTO discovery VALUES ('partner.test', '{}', '2026-05-02', '2026-05-01')",
        "INSERT INTO sts_policy VALUES ('', '1', '', '2026-05-01', 0, '2026-05-01')",
        "INSERT INTO sts_policy VALUES ('Partner.test', '1', '', '2026-05-01', 0, '2026-05-01')",
        "INSERT INTO sts_policy VALUES ('partner.test', '1', '', '2026-05-02', 0, '2026-05-01')",
        "INSERT INTO sts_policy VALUES ('partner.test', '1', '', '2026-05-01', -1, '2026-05-01')",
        "INSERT INTO sts_policy VALUES ('partner.test', '1', '', '2026-05-01', 31557601, '2026-05-01')",
    ],
)
def test_what_the_tables_refuse(attempt: Callable[..., None], statement: str) -> None:
    """An admin's slip is refused by the database itself."""
    attempt(
        statement.replace("'Partner.test'", "'partner.test'")
        .replace("2026-05-02", "2026-05-01")
        .replace("-1,", "0,")
        .replace("31557601", "31557600")
        .replace("('',", "('x',")
    )
    with pytest.raises(Exception, match="refuses the row"):
        attempt(statement)
