"""Next hops: who is asked about, once, and what is made of the answer."""

from typing import Any

import pytest
from tests.fakes import World

from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.directory.partner import Partner
from gatepost.errors import RouteError
from gatepost.gateway.next_hops import NextHops
from gatepost.message.address import NULL_SENDER, parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient
from gatepost.transport.capability import Capability


def facts(to: str = "bob@partner.test", **columns: Any) -> RecipientFacts:
    recipient = Recipient(parse(f"<{to}>".encode()))
    partner = Partner(recipient.address.domain, **columns) if columns else None
    return RecipientFacts(recipient, Direction.OUT, partner=partner)


def hops(world: World) -> NextHops:
    return NextHops(world, world.route, NULL_SENDER)


@pytest.mark.parametrize(
    ("by", "told"), [("partner", "the partner row"), ("dane", "DANE"), ("mta-sts", "MTA-STS"), ("new", "new")]
)
def test_assured_is_usable_and_says_by_what(by: str, told: str) -> None:
    """The rung names what assures TLS, each step, and where the copy goes."""
    world = World()
    world.capabilities["partner.test"] = Capability("partner.test", True, by, "x", steps=("one", "two"))

    assert Rung(True, f"assured by {told}: one; two", nexthop="partner.test") == hops(world).rung(facts())


def test_not_assured_is_not_usable() -> None:
    """What is known not to be assured is passed over for its reasons, and nobody waits for it."""
    world = World()
    world.capabilities["partner.test"] = Capability("partner.test", False, steps=("no TLSA records", "no policy"))

    rung = hops(world).rung(facts())

    assert (rung.usable, rung.unknown, rung.reason) == (False, False, "no TLSA records; no policy")


def test_unknown_is_told_apart() -> None:
    """What nobody knows now is not usable, and told apart from what is not assured."""
    world = World()
    world.unknown("partner.test")

    rung = hops(world).rung(facts())

    assert (rung.usable, rung.unknown) == (False, True)
    assert "the resolver is silent" in rung.reason


def test_each_hop_is_asked_about_once() -> None:
    """Recipients who share a next hop share the question, and the answer."""
    world = World()
    found = hops(world)
    for one in (facts("a@partner.test"), facts("b@partner.test"), facts("c@other.test", nexthop="partner.test")):
        found.begin(one)
        found.rung(one)

    assert world.asked == ["partner.test"]


def test_the_rows_next_hop_is_asked_about() -> None:
    """Where the row names a next hop, the copy goes there, whatever the mail server's routing says."""
    world = World(detours={"partner.test": "relayhost: [out.test]"})
    row = facts(tls="verify", nexthop="[mx.test]:26")
    world.partners["partner.test"] = row.partner  # type: ignore[assignment] # it has one

    rung = hops(world).rung(row)

    assert (rung.usable, rung.nexthop, world.asked) == (True, "[mx.test]:26", ["[mx.test]:26"])
    assert "route" not in world.happened


def test_a_detour_takes_no_tls_and_tells_the_remedy() -> None:
    """Mail that the mail server sends elsewhere must not go past that: TLS needs a next hop that is named."""
    world = World(detours={"partner.test": "relayhost: [out.test]"})
    world.assured("partner.test")
    found = hops(world)

    found.begin(facts())
    rung = found.rung(facts())

    assert (rung.usable, rung.unknown, world.asked) == (False, False, [])
    assert "relayhost: [out.test]" in rung.reason
    assert "gatepost partner set partner.test --nexthop" in rung.reason


def test_a_routing_that_cannot_be_told_is_unknown() -> None:
    """While the mail server's tables cannot be asked, nothing goes past them, and nothing is given up either."""
    world = World(faults={"route": RouteError("the routing table hash:/x cannot be asked")})
    world.assured("partner.test")

    rung = hops(world).rung(facts())

    assert (rung.usable, rung.unknown, rung.reason) == (False, True, "the routing table hash:/x cannot be asked")
    assert rung.nexthop == "partner.test"


def test_an_address_without_domain_has_no_next_hop() -> None:
    """A bare name goes nowhere by TLS, and nobody is asked about it."""
    world = World()

    assert not hops(world).rung(facts("postmaster")).usable
    assert world.asked == []
