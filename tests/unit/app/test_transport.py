"""TLS capabilities as the site wires them: one look-up for all hosts, and doubt without the partner table."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dns.message
import pytest
from lab.nameserver import NameServer, response
from tests.conftest import ENGINES

from gatepost.app.transport import assurance_of, kept_discoverer_of, purge_of
from gatepost.db.discoveries import SqlDiscoveries
from gatepost.db.engine import Database
from gatepost.settings import Settings
from gatepost.settings.model import Dns, Gateway
from gatepost.transport import kept_discoveries
from gatepost.transport.capability import Capability, Discovery

RECORDS = {
    ("signed.test", "MX"): "10 mx.signed.test.",
    ("mx.signed.test", "A"): "192.0.2.1",
    ("_25._tcp.mx.signed.test", "TLSA"): "3 1 1 " + hashlib.sha256(b"key").hexdigest(),
}


def answer(query: dns.message.Message, by_tcp: bool) -> bytes:
    del by_tcp
    name, kind = query.question[0].name.to_text(omit_final_dot=True), query.question[0].rdtype.name
    found = RECORDS.get((name, kind))
    return response(
        query,
        *([f"{name}. 300 IN {kind} {found}"] if found else []),
        authority=() if found else ("test. 300 IN SOA ns.test. admin.test. 1 1 1 1 300",),
        vouched=True,
    ).to_wire()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slow machine's database answer."""
    monkeypatch.setattr(kept_discoveries, "_STORE_SECONDS", 60)


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(answer) as running:
        yield running


@pytest.fixture
def settings(server: NameServer) -> Settings:
    return Settings(
        gateway=Gateway(internal_domains=("hosp.test",), hostname="gw.hosp.test"),
        dns=Dns(resolvers=(server.name,), timeout=30.0),
    )


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[Database]:
    opened = Database(new_database(request.param))
    yield opened
    opened.close()


def ask(settings: Settings, database: Database) -> Capability:
    return asyncio.run(assurance_of(settings, database).capability("Signed.test"))


def look_up(settings: Settings, database: Database) -> Discovery:
    async def discover() -> Discovery:
        discoverer = kept_discoverer_of(settings, database)
        found = await discoverer.discover("signed.test")
        await asyncio.gather(*discoverer._writings)
        return found

    return asyncio.run(discover())


def test_what_one_host_looked_up_others_find(settings: Settings, database: Database, server: NameServer) -> None:
    """A second host, or the same one after a restart, asks DNS nothing; what is not there is kept too."""
    assert look_up(settings, database).dane.assured
    asked = len(server.asked)
    assert asked
    again = ask(settings, database)

    assert (again.by, again.policy) == ("dane", "dane-only")
    assert len(server.asked) == asked


def test_what_is_long_over_is_purged(settings: Settings, database: Database) -> None:
    """Expiry deletes what has been over for a day."""
    found = look_up(settings, database)
    SqlDiscoveries(database).keep(found, datetime.now(UTC) - timedelta(days=3))

    assert purge_of(database)() == 1


def test_without_the_database_nothing_is_assured(settings: Settings, database: Database) -> None:
    """DNS alone does not assure: a partner row may demand more, so while the table is gone all is unknown."""
    with database.writing() as writing:
        writing.exec_driver_sql("DROP TABLE partner")

    assert ask(settings, database).unknown
