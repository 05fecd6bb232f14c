"""What DNS and the web say of a next hop: at once, once, and by the deadline."""

import asyncio

import pytest

from gatepost.transport.capability import Discovery, Method
from gatepost.transport.discovery import (
    LEAST_SECONDS,
    MOST_SECONDS,
    UNKNOWN_SECONDS,
    Discoverer,
    Finding,
    MailHosts,
)
from gatepost.transport.hop import Hop
from gatepost.transport.resolver import LookUpFailed

ASSURED = Finding(Method(assured=True, policy="dane-only", steps=("TLSA",)), 600)
NONE = Finding(Method(assured=False, steps=("no policy",)), 700)
HOSTS = MailHosts(("mx.p.test",), secure=True, seconds=800, steps=("MX",))


class Fakes:
    """Look-ups that give what they are told to, and wait or fail where asked to."""

    def __init__(self, *, hosts: MailHosts = HOSTS, dane: Finding = ASSURED, sts: Finding = NONE) -> None:
        self._hosts, self._dane, self._sts = hosts, dane, sts
        self.faults: dict[str, Exception | None] = {}  # None: never answers
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def _meet(self, name: str) -> None:
        self.asked.append(name)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            if name in self.faults:
                fault = self.faults[name]
                if fault is None:
                    await asyncio.Event().wait()
                else:
                    raise fault
        finally:
            self.at_once -= 1

    async def mail_hosts(self, hop: Hop) -> MailHosts:
        assert hop.name == "p.test"
        await self._meet("mx")
        return self._hosts

    async def dane(self, hop: Hop, hosts: MailHosts) -> Finding:
        assert hosts == self._hosts
        assert hop.port == 25
        await self._meet("dane")
        return self._dane

    async def sts(self, domain: str, hosts: asyncio.Future[MailHosts]) -> Finding:
        assert domain == "p.test"
        await self._meet("sts")
        await asyncio.shield(hosts)  # as the real one does: its own deadline ends no other look-up
        return self._sts


def failing(name: str, fault: Exception | None) -> Fakes:
    fakes = Fakes()
    fakes.faults[name] = fault
    return fakes


def discover(fakes: Fakes, hop: str = "p.test", *, timeout: float = 30) -> Discovery:
    return asyncio.run(Discoverer(fakes, timeout=timeout).discover(hop))


def test_all_is_told() -> None:
    """Hosts, DANE and MTA-STS with their steps; kept as long as the least of them."""
    found = discover(Fakes())
    assert found == Discovery("p.test", ("mx.p.test",), ASSURED.method, NONE.method, ("MX",), 600)


@pytest.mark.parametrize(("seconds", "kept"), [(0, LEAST_SECONDS), (10**9, MOST_SECONDS), (3600, 600)])
def test_seconds_are_bounded(seconds: int, kept: int) -> None:
    """A TTL of nothing does not make every message ask, one of years is not believed."""
    dane = ASSURED if kept == 600 else Finding(ASSURED.method, seconds)
    sts = Finding(NONE.method, seconds)
    hosts = MailHosts(HOSTS.names, True, seconds)
    assert discover(Fakes(hosts=hosts, dane=dane, sts=sts)).seconds == kept


@pytest.mark.parametrize("fault", [LookUpFailed("SERVFAIL"), ZeroDivisionError()])
def test_dane_that_fails_is_unknown(fault: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """A look-up that fails or breaks is unknown, kept for a moment; the others count."""
    found = discover(failing("dane", fault))
    assert found.dane.unknown
    assert not found.dane.assured
    assert "DANE of p.test" in found.dane.steps[0]
    assert ("a look-up broke" in capsys.readouterr().err) == isinstance(fault, ZeroDivisionError)
    assert found.sts == NONE.method
    assert found.seconds == UNKNOWN_SECONDS


@pytest.mark.parametrize("fault", [LookUpFailed("timed out"), KeyError("x")])
def test_sts_that_fails_is_unknown(fault: Exception | None) -> None:
    """The same for MTA-STS: DANE is told all the same."""
    found = discover(failing("sts", fault))
    assert found.sts.unknown
    assert found.dane == ASSURED.method
    assert found.seconds == UNKNOWN_SECONDS


@pytest.mark.parametrize("fault", [LookUpFailed("SERVFAIL"), OSError()])
def test_without_mail_hosts_all_is_unknown(fault: Exception | None) -> None:
    """Where even the mail hosts are not known nothing is, and the reason stands in the steps."""
    found = discover(failing("mx", fault))
    assert found.dane.unknown
    assert found.sts.unknown
    assert found.hosts == ()
    assert "mail hosts of p.test" in found.steps[0]
    assert found.seconds == UNKNOWN_SECONDS


@pytest.mark.parametrize("name", ["dane", "sts"])
def test_doubt_is_kept_for_a_moment(name: str) -> None:
    """Doubt that a look-up tells of itself is kept no longer than one that failed, whatever TTL it names."""
    doubt = Finding(Method(assured=False, unknown=True), 3600)
    fakes = Fakes(dane=doubt) if name == "dane" else Fakes(sts=doubt)
    assert discover(fakes).seconds == UNKNOWN_SECONDS


@pytest.mark.parametrize("name", ["mx", "dane", "sts"])
def test_what_does_not_come_in_time_is_unknown(name: str) -> None:
    """A look-up without an answer ends at the deadline, and what it would have told is unknown."""
    found = discover(failing(name, None), timeout=0.05)
    assert found.dane.unknown if name != "sts" else found.sts.unknown
    assert "no answer within 0.05 s" in " ".join((*found.steps, *found.dane.steps, *found.sts.steps))
    assert found.seconds == UNKNOWN_SECONDS


def test_who_takes_no_mail_has_no_dane() -> None:
    """Without mail hosts there is nothing to ask TLSA records of; that is known."""
    fakes = Fakes(hosts=MailHosts((), True, 800, ("null MX",)))
    found = discover(fakes)
    assert (found.dane.assured, found.dane.unknown) == (False, False)
    assert "dane" not in fakes.asked


def test_single_hosts_have_no_mta_sts() -> None:
    """`[host]` is asked for DANE alone."""
    fakes = Fakes()
    found = discover(fakes, "[P.Test]:25")
    assert found.dane.assured
    assert (found.sts.assured, found.sts.unknown) == (False, False)
    assert "sts" not in fakes.asked


@pytest.mark.parametrize(
    "hop", ["[192.0.2.1]", "[2001:db8::1]:25", "[ipv6:2001:db8::1]", "", "a b", "p.test:0", "["]
)
def test_addresses_and_nonsense_are_not_asked_for(hop: str) -> None:
    """Nothing is published about an IP address, and nothing is asked about what is no next hop."""
    fakes = Fakes()
    found = discover(fakes, hop)
    assert fakes.asked == []
    assert not any((found.dane.assured, found.dane.unknown, found.sts.assured, found.sts.unknown))
    assert found.steps


def test_equal_questions_are_asked_once() -> None:
    """While a look-up is under way who asks the same gets its answer; later it is asked anew."""
    fakes = Fakes()

    async def ask() -> None:
        discoverer = Discoverer(fakes, timeout=30)
        answers = await asyncio.gather(*(discoverer.discover("p.test") for _ in range(5)))
        assert len(set(answers)) == 1
        assert fakes.asked == ["mx", "sts", "dane"]
        await discoverer.discover("p.test")
        assert len(fakes.asked) == 6

    asyncio.run(ask())


def test_who_gives_up_takes_nothing_from_others() -> None:
    """Of two who wait for one answer, the one that is cancelled does not stop the look-up."""
    fakes = Fakes()

    async def ask() -> None:
        discoverer = Discoverer(fakes, timeout=30)
        first, second = (asyncio.create_task(discoverer.discover("p.test")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).dane.assured

    asyncio.run(ask())


def test_look_ups_at_once_are_bounded() -> None:
    """However many next hops are asked for, so many look-ups run at one time, and all are answered."""
    fakes = Fakes()
    spelled = ["p.test", "p.test:25", "[p.test]", "[p.test]:25", "P.test"]

    async def ask() -> None:
        discoverer = Discoverer(fakes, timeout=30, most=2)
        found = await asyncio.gather(*(discoverer.discover(hop) for hop in spelled))
        assert all(one.dane.assured for one in found)

    asyncio.run(ask())
    assert fakes.most_at_once == 2
