"""MTA-STS with a real HTTPS host and a real database: how it goes on, day by day."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab.certificate import Authority
from lab.policy_host import PolicyHost, put_site

from gatepost.db.discoveries import SqlPolicies
from gatepost.db.engine import Database
from gatepost.transport import target
from gatepost.transport.capability import Method
from gatepost.transport.discovery import MailHosts
from gatepost.transport.https import Https
from gatepost.transport.resolver import IpAddress, LookUpFailed, MailHost, Records, Tlsa
from gatepost.transport.sts_policy import StsPolicies

pytestmark = pytest.mark.real

LINE = "secure match=mx.p.test servername=hostname"
WEB = "mta-sts.p.test"


class Domain:
    """The domain p.test as DNS and the web show it on some day."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.authority = Authority(folder)
        self.file = folder / "sites.json"
        self.record = ""
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.publish("1")
        self.host = PolicyHost(self.file)
        self._database = database

    def publish(self, identity: str, mode: str = "enforce", how: str = "answers", *, days: int = 7) -> None:
        """Have a policy from now on."""
        self.record = f"v=STSv1; id={identity};"
        policy = f"version: STSv1\nmode: {mode}\nmx: mx.p.test\nmax_age: {days * 86_400}\n"
        put_site(self.file, WEB, self.authority.issue(WEB), how, policy)

    def judge(self, *, allow_private: bool = True, days: float = 0) -> Method:
        """Let days pass, then ask a service that has just been started."""
        self.now += timedelta(days=days)

        async def ask() -> Method:
            hosts: asyncio.Future[MailHosts] = asyncio.get_running_loop().create_future()
            hosts.set_result(MailHosts(("mx.p.test",), secure=False, seconds=60))
            https = Https(str(self.authority.file), port=self.host.port)
            targets = partial(target.reachable, allow_private=allow_private)
            kept = SqlPolicies(self._database)
            policies = StsPolicies(self, https, kept, targets, seconds=60, clock=lambda: self.now)
            try:
                return (await policies.judge("p.test", hosts)).method
            finally:
                https.close()

        return asyncio.run(ask())

    async def txt(self, name: str) -> Records[bytes]:
        if self.record == "SERVFAIL":
            raise LookUpFailed(f"TXT {name}: SERVFAIL")
        return Records(name, (self.record.encode(),) if self.record else (), secure=False, seconds=60)

    async def addresses(self, host: str) -> Records[IpAddress]:
        return Records(host, (ip_address("127.0.0.1"),), secure=False, seconds=60)

    async def mx(self, domain: str) -> Records[MailHost]:
        raise NotImplementedError

    async def tlsa(self, name: str) -> Records[Tlsa]:
        raise NotImplementedError


@pytest.fixture
def domain(tmp_path: Path, new_database: Callable[..., str]) -> Iterator[Domain]:
    """Give the domain, its host answering, with an empty database."""
    database = Database(new_database("sqlite"))
    domain = Domain(tmp_path, database)
    with domain.host:
        yield domain
    database.close()


def test_from_day_to_day(domain: Domain) -> None:
    """A policy is fetched once, outlives its host and its record until max_age, and follows its id."""
    assert domain.judge().policy == LINE
    domain.host.close()
    assert domain.judge(days=6.9).policy == LINE
    domain.record = ""
    assert domain.judge().policy == LINE
    domain.record = "SERVFAIL"
    assert domain.judge().policy == LINE
    domain.record = "v=STSv1; id=2;"
    told = domain.judge()
    assert told.policy == LINE
    assert "it cannot be reached: Connection refused; the kept policy counts" in told.steps[0]
    assert not domain.judge(days=0.2).assured
    assert len(domain.host.requests) == 1


@pytest.mark.parametrize(
    ("how", "step"),
    [
        ("redirects", "it answered 301, and no redirect is followed"),
        ("missing", "it answered 404"),
        ("long", "its answer is longer than 65536 octets"),
        ("endless", "its answer is longer than 65536 octets"),
        ("html", "its answer is not of type text/plain"),
        ("gzip", "its answer is compressed, which was not asked for"),
        ("cut short", "its answer is no HTTP, or broke off"),
    ],
)
def test_bad_hosts(domain: Domain, how: str, step: str) -> None:
    """A host that serves a policy in a wrong way publishes none, and takes none away that was good."""
    domain.publish("1", how=how)
    told = domain.judge()
    assert not told.assured
    assert not told.unknown
    assert told.steps[0].endswith(step)
    domain.publish("1")
    assert domain.judge().assured
    domain.publish("2", "none", how=how)
    assert domain.judge().policy == LINE


def test_policy_withdrawn(domain: Domain) -> None:
    """A policy of mode none under a new id ends the one in mode enforce."""
    assert domain.judge().assured
    domain.publish("2", "none", days=1)
    assert not domain.judge().assured
    assert not domain.judge(days=0.9).assured
    assert [request.split()[0] for request in domain.host.requests] == [WEB, WEB]


def test_certificate_swapped(domain: Domain) -> None:
    """A policy under a certificate that nobody vouches for replaces nothing."""
    assert domain.judge().assured
    domain.publish("2", "none")
    put_site(domain.file, WEB, domain.authority.issue(WEB, expired=True), "answers", "version: STSv1")
    told = domain.judge()
    assert told.assured
    assert "its certificate is not valid: certificate has expired" in told.steps[0]


def test_private_address(domain: Domain) -> None:
    """A policy host at a private address is not connected to, unless the settings allow it."""
    told = domain.judge(allow_private=False)
    assert not told.assured
    assert "127.0.0.1 (loopback)" in told.steps[0]
    assert domain.host.requests == []
