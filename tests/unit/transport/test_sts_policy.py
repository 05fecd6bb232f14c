"""MTA-STS is judged from DNS, the policy host and what is kept; what is kept counts until its own end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from structlog.testing import capture_logs

from gatepost.errors import StorageError
from gatepost.transport.capability import Method
from gatepost.transport.discovery import Finding, MailHosts
from gatepost.transport.kept_policies import KeptPolicy
from gatepost.transport.resolver import IpAddress, LookUpFailed, MailHost, Records, Tlsa
from gatepost.transport.sts_fetch import LEFT_ALONE, Fault, PolicyFetches
from gatepost.transport.sts_policy import StsPolicies

WEEK = 604_800
TTL = 600
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
FETCHED = "fetched 2026-03-01 12:00 UTC"
LONG = 60.0


def text(mode: str = "enforce", *hosts: str, age: int = WEEK) -> str:
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), f"max_age: {age}"]
    return "\r\n".join(lines)


class World:
    """DNS, the web, what is kept, and the time, all as a test sets them."""

    def __init__(self) -> None:
        self.records: tuple[bytes, ...] | LookUpFailed = (b"v=STSv1; id=1;",)
        self.file: str | LookUpFailed | Callable[[], Awaitable[bytes]] = text("enforce", "mx.p.test")
        self.addresses_of: dict[str, tuple[IpAddress, ...]] = {"mta-sts.p.test": (ip_address("192.0.2.1"),)}
        self.dns_hangs = False
        self.kept: dict[str, KeptPolicy] = {}
        self.broken: set[str] = set()
        self.now = BEGAN
        self.ticks = 0.0
        self.fetches: list[str] = []

    async def mx(self, domain: str) -> Records[MailHost]:
        raise NotImplementedError

    async def tlsa(self, name: str) -> Records[Tlsa]:
        raise NotImplementedError

    async def addresses(self, host: str) -> Records[IpAddress]:
        return Records(host, self.addresses_of[host], secure=False, seconds=TTL)

    async def txt(self, name: str) -> Records[bytes]:
        assert name == "_mta-sts.p.test"
        if self.dns_hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if isinstance(self.records, LookUpFailed):
            raise self.records
        return Records(name, self.records, secure=False, seconds=TTL)

    async def get(
        self, host: str, path: str, addresses: Sequence[IpAddress], *, seconds: float, most: int
    ) -> bytes:
        assert (host, path) == ("mta-sts.p.test", "/.well-known/mta-sts.txt")
        assert seconds > 0
        assert most == 65536
        self.fetches.append(",".join(map(str, addresses)))
        if isinstance(self.file, LookUpFailed):
            raise self.file
        return self.file.encode() if isinstance(self.file, str) else await self.file()

    def put(self, policy: KeptPolicy) -> None:
        if "put" in self.broken:
            raise StorageError("the disk is full")
        self.kept[policy.domain] = policy

    def find(self, domain: str) -> KeptPolicy | None:
        if "get" in self.broken:
            raise StorageError("the database is down")
        return self.kept.get(domain)

    def keep(self, mode: str = "enforce", *hosts: str, identity: str = "1", age: int = WEEK) -> None:
        """Have fetched a policy at the beginning."""
        self.kept["p.test"] = KeptPolicy("p.test", identity, text(mode, *hosts, age=age), BEGAN, age)

    def policies(self, seconds: float = LONG) -> StsPolicies:
        policies = StsPolicies(self, self, _Kept(self), _allowed, seconds=seconds, clock=lambda: self.now)
        policies._fetches._monotonic = lambda: self.ticks
        return policies


class _Kept:
    def __init__(self, world: World) -> None:
        self.get = world.find
        self.put = world.put


def _allowed(addresses: Sequence[IpAddress]) -> Sequence[IpAddress]:
    return [address for address in addresses if not address.is_loopback]


async def looked_up(policies: StsPolicies, *names: str) -> Finding:
    hosts: asyncio.Future[MailHosts] = asyncio.get_running_loop().create_future()
    hosts.set_result(MailHosts(names, secure=False, seconds=TTL))
    return await policies.judge("p.test", hosts)


def judge(world: World, *names: str, seconds: float = LONG) -> Finding:
    return asyncio.run(looked_up(world.policies(seconds), *(names or ("mx.p.test",))))


def test_nothing_published() -> None:
    """Without a record there is no policy, for as long as DNS says so; the web is not asked."""
    world = World()
    world.records = (b"v=spf1 -all",)
    assert judge(world) == Finding(Method(assured=False, steps=("p.test publishes no MTA-STS policy",)), TTL)
    assert world.fetches == []


def test_two_records() -> None:
    """Several records are as good as none, and the step says so."""
    world = World()
    world.records = (b"v=STSv1; id=1;", b"v=STSv1; id=2;")
    found = judge(world)
    assert not found.method.assured
    assert found.method.steps[0].startswith("the MTA-STS record of p.test does not count: 2 records")
    assert world.fetches == []


def test_enforce() -> None:
    """A policy in mode enforce assures the hosts that it names, and is kept as it came."""
    world = World()
    world.file = text("enforce", "mx.p.test", "*.out.p.test")
    found = judge(world, "mx.p.test", "a.out.p.test", "mx.evil.test")
    assert found.method.assured
    assert found.method.policy == "secure match=mx.p.test:a.out.p.test servername=hostname"
    assert found.seconds == TTL
    policy, others = found.method.steps[0].split("; ")
    assert (
        policy == f"MTA-STS policy 1 of p.test, {FETCHED}: mode enforce, certificates for mx.p.test, a.out.p.test"
    )
    assert others == "the mail hosts that it does not name get no mail by it: mx.evil.test"
    assert world.kept["p.test"] == KeptPolicy("p.test", "1", world.file, BEGAN, WEEK)


@pytest.mark.parametrize("mode", ["testing", "none"])
def test_modes_that_assure_nothing(mode: str) -> None:
    """Testing and none assure nothing, and are kept all the same."""
    world = World()
    world.file = text(mode, "mx.p.test")
    found = judge(world)
    expected = f"MTA-STS policy 1 of p.test, {FETCHED}: mode {mode} assures nothing"
    assert found.method == Method(assured=False, steps=(expected,))
    assert world.kept["p.test"].text == world.file


@pytest.mark.parametrize("names", [("mx.evil.test",), ("a.mx.p.test", "p.test")])
def test_no_host_that_it_names(names: tuple[str, ...]) -> None:
    """Where the policy names none of the mail hosts, ordinary mail must wait too (RFC 8461 section 5)."""
    found = judge(World(), *names)
    assert not found.method.assured
    assert found.method.unknown
    assert found.method.policy == ""
    step = f"it names none of the mail hosts ({', '.join(names)}), only mx.p.test"
    assert found.method.steps[-1].endswith(step)


def test_no_host_at_all() -> None:
    """A domain without mail hosts is not assured, and nothing is in doubt."""
    world = World()

    async def ask() -> Finding:
        return await looked_up(world.policies())

    found = asyncio.run(ask())
    assert not found.method.assured
    assert not found.method.unknown
    assert "(there are none)" in found.method.steps[-1]


def test_many_hosts_are_not_all_told() -> None:
    """A step tells five names; the line for Postfix has them all."""
    world = World()
    world.file = text("enforce", "*.p.test")
    assert judge(world, *(f"mx{number}.p.test" for number in range(5))).method.steps[-1].endswith("mx4.p.test")
    names = [f"mx{number}.p.test" for number in range(40)]
    found = judge(world, *names)
    assert found.method.policy == f"secure match={':'.join(names)} servername=hostname"
    assert found.method.steps[-1].endswith("mx3.p.test, mx4.p.test and 35 more")


def test_hosts_that_fail() -> None:
    """Where the mail hosts cannot be looked up, the policy is kept and the answer unknown."""
    world = World()

    async def ask() -> Finding:
        hosts: asyncio.Future[MailHosts] = asyncio.get_running_loop().create_future()
        hosts.set_exception(LookUpFailed("MX p.test: SERVFAIL"))
        return await world.policies().judge("p.test", hosts)

    with pytest.raises(LookUpFailed, match="SERVFAIL"):
        asyncio.run(ask())
    assert "p.test" in world.kept


def test_kept_while_the_id_stands() -> None:
    """While DNS names the same id and max_age lasts, the policy host is not asked."""
    world = World()
    world.keep("enforce", "old.p.test")
    world.now = BEGAN + timedelta(seconds=WEEK - 1)
    found = judge(world, "old.p.test")
    assert found.method.policy == "secure match=old.p.test servername=hostname"
    assert found.seconds == 1
    assert world.fetches == []


def test_fetched_again_after_its_life() -> None:
    """When max_age is over, the policy is fetched again, though the id is the same; the old one does not count."""
    world = World()
    world.keep("enforce", "old.p.test")
    world.now = BEGAN + timedelta(seconds=WEEK)
    assert judge(world).method.policy == "secure match=mx.p.test servername=hostname"
    world.keep("enforce", "old.p.test")
    world.file = LookUpFailed("it answered 404")
    assert not judge(world, "old.p.test").method.assured


def test_new_id() -> None:
    """A new id has the policy fetched, which takes the old one's place: one of mode none ends it."""
    world = World()
    world.keep("enforce", "mx.p.test", identity="0")
    world.file = text("none")
    found = judge(world)
    assert not found.method.assured
    assert (world.kept["p.test"].id, world.kept["p.test"].text) == ("1", world.file)


@pytest.mark.parametrize("file", ["<html>", text("enforce"), LookUpFailed("it answered 301")])
def test_fetch_fails_with_a_kept_policy(file: str | LookUpFailed) -> None:
    """While the policy host fails, or serves nonsense, the kept policy counts, and the step says both."""
    world = World()
    world.keep("enforce", "mx.p.test", identity="0")
    world.file = file
    found = judge(world)
    assert found.method.assured
    assert found.method.policy == "secure match=mx.p.test servername=hostname"
    assert found.seconds == LEFT_ALONE
    assert found.method.steps[0].startswith("policy 1 of p.test could not be fetched: ")
    assert found.method.steps[0].endswith("; the kept policy counts")
    assert world.kept["p.test"].id == "0"


def test_fetch_fails_without_a_kept_policy() -> None:
    """Without a kept policy a failed fetch is no policy, known for certain, and the step says why."""
    world = World()
    world.file = LookUpFailed("its certificate is not valid")
    found = judge(world)
    assert found.method == Method(
        assured=False, steps=("policy 1 of p.test could not be fetched: its certificate is not valid",)
    )
    assert found.seconds == LEFT_ALONE
    assert world.kept == {}


@pytest.mark.parametrize("records", [(), (b"v=STSv1; id=1", b"v=STSv1; id=1"), LookUpFailed("TXT: SERVFAIL")])
def test_record_gone_with_a_kept_policy(records: tuple[bytes, ...] | LookUpFailed) -> None:
    """A record that has gone, or DNS that fails, takes nothing from the kept policy."""
    world = World()
    world.keep("enforce", "mx.p.test", identity="0")
    world.records = records
    found = judge(world)
    assert found.method.assured
    assert found.method.steps[0].endswith("; the kept policy counts")
    assert world.fetches == []
    world.now = BEGAN + timedelta(seconds=WEEK)
    if not isinstance(records, LookUpFailed):
        assert not judge(world).method.assured


def test_dns_fails_without_a_kept_policy() -> None:
    """DNS that gives no trustworthy answer is not "no policy"."""
    world = World()
    world.records = LookUpFailed("TXT _mta-sts.p.test: SERVFAIL")
    with pytest.raises(LookUpFailed, match="SERVFAIL"):
        judge(world)


def test_dns_hangs() -> None:
    """A resolver that says nothing is given up in time for the kept policy."""
    world = World()
    world.dns_hangs = True
    with pytest.raises(LookUpFailed, match=r"^TXT _mta-sts\.p\.test: no answer in time$"):
        judge(world, seconds=0.05)
    world.keep("enforce", "mx.p.test")
    assert judge(world, seconds=0.05).method.assured


def test_a_slow_host() -> None:
    """A fetch that outlasts the question leaves it unknown, goes on, and serves the next one."""
    world = World()

    async def ask() -> tuple[Finding, Finding]:
        release = asyncio.Event()

        async def slow() -> bytes:
            await release.wait()
            return text("enforce", "mx.p.test").encode()

        world.file = slow
        policies = world.policies()
        fetch = policies._fetches.fetch
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(policies._fetches, "fetch", lambda domain, identity, _: fetch(domain, identity, 0))
            with pytest.raises(LookUpFailed, match=r"^policy 1 of p\.test is still being fetched$"):
                await looked_up(policies, "mx.p.test")
            world.keep("enforce", "old.p.test", identity="0")
            meanwhile = await looked_up(policies, "old.p.test")
        waiting = asyncio.create_task(looked_up(policies, "mx.p.test"))
        await asyncio.sleep(0)
        release.set()
        return meanwhile, await waiting

    meanwhile, found = asyncio.run(ask())
    assert meanwhile.method.assured
    assert meanwhile.method.steps[0] == "policy 1 of p.test is still being fetched; the kept policy counts"
    assert found.method.policy == "secure match=mx.p.test servername=hostname"
    assert len(world.fetches) == 1


def test_a_host_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch that outlasts its own time in the background has failed; whoever waits has not more than is left."""
    monkeypatch.setattr("gatepost.transport.sts_fetch._MOST_SECONDS", 0.05)
    world = World()

    async def endless() -> bytes:
        await asyncio.Event().wait()
        return b""

    world.file = endless
    policies = world.policies()
    waited: list[float] = []
    fetch = policies._fetches.fetch

    async def noted(domain: str, identity: str, seconds: float) -> KeptPolicy | Fault | None:
        waited.append(seconds)
        return await fetch(domain, identity, seconds)

    policies._fetches.fetch = noted  # type: ignore[method-assign]
    found = asyncio.run(looked_up(policies, "mx.p.test"))
    assert "could not be fetched: https://mta-sts.p.test/.well-known/" in found.method.steps[0]
    assert found.method.steps[0].endswith("mta-sts.txt: no complete answer within 0.05 s")
    assert 0 < waited[0] <= LONG


def test_own_clock() -> None:
    """Without a clock given, the time is now, in UTC; and a host that failed just now is left alone."""
    world = World()
    policies = StsPolicies(world, world, _Kept(world), _allowed, seconds=LONG)
    assert asyncio.run(looked_up(policies, "mx.p.test")).method.assured
    age = datetime.now(UTC) - world.kept["p.test"].fetched
    assert timedelta(0) <= age < timedelta(hours=1)
    world.file = LookUpFailed("it answered 500")

    async def twice() -> None:
        world.records = (b"v=STSv1; id=2;",)
        for _ in range(2):
            await looked_up(policies, "mx.p.test")

    asyncio.run(twice())
    assert len(world.fetches) == 2


def test_a_failing_host_is_left_alone() -> None:
    """After a failure the host is asked again five minutes later, or for another id (RFC 8461 section 3.3)."""
    world = World()
    world.file = LookUpFailed("it answered 500")

    async def ask() -> None:
        policies = world.policies()
        for seconds, identity, fetches in ((0, 1, 1), (299, 1, 1), (299, 2, 2), (300, 1, 3)):
            world.ticks = seconds
            world.records = (b"v=STSv1; id=%d;" % identity,)
            found = await looked_up(policies, "mx.p.test")
            assert "it answered 500" in found.method.steps[0]
            assert len(world.fetches) == fetches

    asyncio.run(ask())


def test_failures_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many failing domains do not fill the memory; the oldest is forgotten."""
    monkeypatch.setattr("gatepost.transport.sts_fetch._MOST_FAULTS", 3)
    world = World()
    world.file = LookUpFailed("no")

    async def ask() -> PolicyFetches:
        fetches = world.policies()._fetches
        for identity in range(6):
            assert isinstance(await fetches.fetch("p.test", str(identity), LONG), Fault)
        return fetches

    assert [identity for _, identity in asyncio.run(ask())._faults] == ["3", "4", "5"]


def test_only_addresses_that_may_be_fetched_from() -> None:
    """The web is asked at the addresses that are allowed, no others."""
    world = World()
    world.addresses_of = {"mta-sts.p.test": (ip_address("127.0.0.1"), ip_address("192.0.2.7"))}
    assert judge(world).method.assured
    assert world.fetches == ["192.0.2.7"]


def test_a_bug_in_fetching() -> None:
    """Whatever breaks in a fetch is a failed fetch, told in the log."""
    world = World()
    world.addresses_of = {}
    with capture_logs() as logged:
        found = judge(world)
    assert not found.method.assured
    assert logged[0]["event"] == "a fetch broke"
    assert "KeyError" in logged[0]["cause"]


def test_storage_fails() -> None:
    """A policy that cannot be kept counts now; where what is kept cannot be read, nothing is known."""
    world = World()
    world.broken = {"put"}
    with capture_logs() as logged:
        assert judge(world).method.assured
    assert logged == [
        {
            "event": "a policy could not be kept",
            "log_level": "warning",
            "domain": "p.test",
            "cause": "the disk is full",
        }
    ]
    world.broken = {"get"}
    with pytest.raises(LookUpFailed, match="the kept MTA-STS policies cannot be read: the database is down"):
        judge(world)


def test_kept_nonsense() -> None:
    """A kept text that is no policy is passed over, with a warning, and fetched anew."""
    world = World()
    world.kept["p.test"] = KeptPolicy("p.test", "1", "mode: enforce", BEGAN, WEEK)
    with capture_logs() as logged:
        assert judge(world).method.assured
    assert logged[0]["event"] == "a kept MTA-STS policy is passed over"
    assert world.kept["p.test"].text == world.file


@pytest.mark.parametrize(("age", "hours", "fetches"), [(WEEK, 23, 0), (WEEK, 24, 1), (7200, 0.9, 0), (7200, 1, 1)])
def test_refresh(age: int, hours: float, fetches: int) -> None:
    """A kept policy is fetched anew once it is a day old or half its life is over, though its id is the same."""
    world = World()
    world.keep("enforce", "old.p.test", age=age)
    world.now = BEGAN + timedelta(hours=hours)
    asyncio.run(world.policies().refresh("p.test"))
    assert len(world.fetches) == fetches
    assert (world.kept["p.test"].fetched == world.now) is bool(fetches)


@pytest.mark.parametrize(
    ("records", "file", "cause"),
    [
        ((b"v=STSv1; id=1",), LookUpFailed("it answered 404"), "it answered 404"),
        ((), text("enforce", "mx.p.test"), "p.test publishes no MTA-STS policy"),
        (LookUpFailed("TXT: SERVFAIL"), "", "TXT: SERVFAIL"),
    ],
)
def test_refresh_fails(records: tuple[bytes, ...] | LookUpFailed, file: str | LookUpFailed, cause: str) -> None:
    """A refresh that fails is told in the log and leaves the kept policy as it was."""
    world = World()
    world.keep("enforce", "old.p.test")
    before = world.kept["p.test"]
    world.now = BEGAN + timedelta(days=2)
    world.records, world.file = records, file
    with capture_logs() as logged:
        asyncio.run(world.policies().refresh("p.test"))
    assert world.kept["p.test"] is before
    assert [(line["event"], line["cause"]) for line in logged] == [
        ("an MTA-STS policy could not be refreshed", cause)
    ]


def test_refresh_of_nothing() -> None:
    """A domain without a kept policy, or whose policy is over, is not asked."""
    world = World()
    asyncio.run(world.policies().refresh("p.test"))
    world.keep("enforce", "mx.p.test")
    world.now = BEGAN + timedelta(seconds=WEEK)
    asyncio.run(world.policies().refresh("p.test"))
    assert world.fetches == []
