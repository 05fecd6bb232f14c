"""What a real validating resolver says of zones that are signed, not signed, and signed wrongly."""

import asyncio
from collections.abc import Iterator

import pytest
from lab.dnszone import Zone
from lab.place import short_folder
from lab.unbound import Unbound

from gatepost.transport import hop as hops
from gatepost.transport.dane import judge
from gatepost.transport.discovery import Finding
from gatepost.transport.dns import StubResolver
from gatepost.transport.mx import find_hosts
from gatepost.transport.resolver import LookUpFailed, MailHost

pytestmark = pytest.mark.real

PATIENT = 60.0  # seconds: a busy host is no fault
USABLE = "3 1 1 " + "ab" * 32


def zones() -> list[Zone]:
    """Give a signed zone above one that is signed, one that is not, and one whose signatures are another's."""
    top, good = Zone("test"), Zone("good.test")
    plain, bogus = Zone("plain.test", "insecure"), Zone("bogus.test", "bogus")
    for zone in (good, plain, bogus):
        top.put_child(zone)
        zone.put("@", "MX", f"10 mx.{zone.name}.")
        zone.put("mx", "A", "192.0.2.1")
        zone.put("_25._tcp.mx", "TLSA", USABLE)
    good.put("inside", "CNAME", "mx.good.test.")
    good.put("leaving", "CNAME", "mx.plain.test.")
    good.put("_25._tcp.leaving", "TLSA", USABLE)
    good.put("through-alias", "MX", "10 inside.good.test.")
    good.put("through-leaving", "MX", "10 leaving.good.test.")
    good.put("to-plain", "MX", "10 mx.good.test.", "20 mx.plain.test.")
    good.put("to-bogus", "MX", "10 mx.good.test.", "20 mx.bogus.test.")
    good.put("to-none", "MX", "10 mx.good.test.", "20 bare.good.test.")
    good.put("bare", "A", "192.0.2.9")
    good.put("no-mail", "MX", "0 .")
    return [top, good, plain, bogus]


@pytest.fixture(scope="module")
def unbound() -> Iterator[Unbound]:
    with short_folder() as folder, Unbound(folder / "unbound", zones()) as server:
        yield server


@pytest.fixture
def resolver(unbound: Unbound) -> StubResolver:
    return StubResolver([f"127.0.0.1#{unbound.port}"], PATIENT)


@pytest.mark.parametrize("name", ["good.test", "mx.good.test", "nothing.good.test"])
def test_a_signed_zone_is_vouched_for(resolver: StubResolver, name: str) -> None:
    """Records, their absence, and the absence of the name."""
    records = asyncio.run(resolver.mx(name))

    assert records.secure
    assert records.values == ((MailHost(10, "mx.good.test"),) if name == "good.test" else ())
    assert records.exists is not name.startswith("nothing")


def test_both_kinds_of_address_are_vouched_for(resolver: StubResolver) -> None:
    """That there is no AAAA record is proven too."""
    assert asyncio.run(resolver.addresses("mx.good.test")).secure


@pytest.mark.parametrize("name", ["plain.test", "mx.plain.test", "nothing.plain.test"])
def test_a_zone_that_is_not_signed_is_answered_without_proof(resolver: StubResolver, name: str) -> None:
    """Its signed parent proves that it is not signed."""
    assert not asyncio.run(resolver.mx(name)).secure


@pytest.mark.parametrize("name", ["bogus.test", "nothing.bogus.test"])
def test_a_bogus_answer_is_a_failure(resolver: StubResolver, name: str) -> None:
    """It is neither an answer nor "none"."""
    with pytest.raises(LookUpFailed, match="SERVFAIL, which a bogus DNSSEC chain gives too"):
        asyncio.run(resolver.mx(name))


def test_an_alias_is_as_secure_as_its_weakest_link(resolver: StubResolver) -> None:
    """The CNAME's own security is seen where it is asked for itself."""
    inside = asyncio.run(resolver.addresses("inside.good.test"))
    outside = asyncio.run(resolver.addresses("leaving.good.test"))
    link = asyncio.run(resolver.alias("leaving.good.test"))

    assert (inside.name, inside.secure) == ("mx.good.test", True)
    assert (outside.name, outside.secure) == ("mx.plain.test", False)
    assert (link.values, link.secure) == (("mx.plain.test",), True)


def dane_of(resolver: StubResolver, hop: str) -> Finding:
    async def find() -> Finding:
        read = hops.read(hop)
        return await judge(resolver, read, await find_hosts(resolver, read))

    return asyncio.run(find())


@pytest.mark.parametrize(
    "hop", ["good.test", "mx.good.test", "through-alias.good.test", "through-leaving.good.test", "[mx.good.test]"]
)
def test_dane_is_found_under_a_validated_chain(resolver: StubResolver, hop: str) -> None:
    """By MX, by the domain's own address, and through aliases (RFC 7672 sections 2.2.1 to 2.2.3)."""
    finding = dane_of(resolver, hop)

    assert finding.method.assured, finding.method.steps
    assert finding.method.policy == "dane-only"


@pytest.mark.parametrize(
    "hop", ["plain.test", "to-plain.good.test", "to-none.good.test", "no-mail.good.test", "[mx.plain.test]"]
)
def test_dane_is_not_found_where_a_part_is_missing(resolver: StubResolver, hop: str) -> None:
    """A zone that is not signed, at the domain or at one host, or a host without records."""
    method = dane_of(resolver, hop).method

    assert not method.assured
    assert not method.unknown


def test_dane_is_unknown_where_a_chain_is_bogus(resolver: StubResolver) -> None:
    """One host's zone with wrong signatures is an attack or a fault, and not "no DANE"."""
    method = dane_of(resolver, "to-bogus.good.test").method

    assert (method.assured, method.unknown) == (False, True)
    assert "mx.bogus.test: unknown: A records of mx.bogus.test" in method.steps[1]
