"""What a real validating resolver says of zones that are signed, not signed, and signed wrongly."""

import asyncio
from collections.abc import Iterator

import pytest
from lab.dnszone import Zone
from lab.place import short_folder
from lab.unbound import Unbound

from gatepost.transport.dns import StubResolver
from gatepost.transport.resolver import LookUpFailed, MailHost

pytestmark = pytest.mark.real

PATIENT = 60.0  # seconds: a busy host is no fault


def zones() -> list[Zone]:
    """Give a signed zone above one that is signed, one that is not, and one whose signatures are another's."""
    top, good = Zone("test"), Zone("good.test")
    plain, bogus = Zone("plain.test", "insecure"), Zone("bogus.test", "bogus")
    for zone in (good, plain, bogus):
        top.put_child(zone)
        zone.put("@", "MX", f"10 mx.{zone.name}.")
        zone.put_mail_host("mx", "192.0.2.1")
    good.put("inside", "CNAME", "mx.good.test.")
    good.put("leaving", "CNAME", "mx.plain.test.")
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
