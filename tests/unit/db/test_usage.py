"""How mail that had to be protected went, counted by domain."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes import FakeRecord

from gatepost.db import usage
from gatepost.db.engine import Database
from gatepost.db.usage import SqlUsage
from gatepost.db.writer import Writer
from gatepost.directory.event import Event, Kind
from gatepost.directory.usage import DomainUse

NOW = datetime(2026, 5, 1, tzinfo=UTC)
MONTH = NOW - timedelta(days=30)


def event(
    recipient: str,
    treatment: str,
    *,
    demand: str = "encrypt",
    direction: str = "out",
    age: timedelta = timedelta(days=1),
    kind: Kind = "message",
) -> Event:
    return Event(
        at=(NOW - age).timestamp(),
        kind=kind,
        direction=direction,
        recipient=recipient,
        demand=demand,
        treatment=treatment,
    )


EVENTS = (
    event("old@a.test", "securedoc", age=timedelta(days=31)),
    event("x@a.test", "securedoc"),
    event("y@A.test", "pdf", demand="tls"),
    event("x@a.test", "pickup"),
    event("x@a.test", "quarantine"),
    event("x@a.test", "openpgp"),
    event("x@a.test", "tls"),
    event("x@a.test", "pass", demand="none"),
    event("x@a.test", "quarantine", demand="quarantine"),
    event("x@a.test", "securedoc", direction="internal"),
    event("x@a.test", "securedoc", kind="delivery"),
    event("x@b.test", "tls"),
)


def written(database: Database, *events: Event) -> SqlUsage:
    writer = Writer(database, "gw")
    writer.post(FakeRecord(*events))
    writer.close()
    return SqlUsage(database)


def test_counts_by_domain(database: Database) -> None:
    """What had to be protected since then counts, whoever at the domain it was for; the busiest is first."""
    assert written(database, *EVENTS).by_domain(MONTH) == (
        DomainUse("a.test", protected=6, enveloped=3, held=1, by_tls=1),
        DomainUse("b.test", protected=1, enveloped=0, held=0, by_tls=1),
    )


def test_nothing_recorded(database: Database) -> None:
    """Without events there is nothing to count."""
    assert SqlUsage(database).by_domain(MONTH) == ()


def test_a_long_record_is_read_in_ranges(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and gaps between them lose nothing, and reading ends where all is older than asked for."""
    monkeypatch.setattr(usage, "_RANGE", 3)
    old = [event("x@a.test", "pdf", age=timedelta(days=40))] * 20
    counts = written(sqlite, *old, *EVENTS)
    with sqlite.writing() as connection:
        connection.exec_driver_sql("UPDATE event SET id = id + 1000 WHERE id > 25")
    read: list[int | None] = []
    newest = counts._newest
    monkeypatch.setattr(counts, "_newest", lambda up_to: read.append(up_to) or newest(up_to))

    assert counts.by_domain(MONTH)[0] == DomainUse("a.test", protected=6, enveloped=3, held=1, by_tls=1)
    assert len(read) < 8
