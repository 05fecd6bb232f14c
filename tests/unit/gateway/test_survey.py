"""What the directory allows for one recipient."""

import pytest
from tests.fakes import FakeCertificates, FakeKeys, World

from gatepost.decision.demand import Treatment
from gatepost.decision.facts import RecipientFacts
from gatepost.directory.key import Trust
from gatepost.directory.partner import Partner
from gatepost.gateway.aliases import Aliases
from gatepost.gateway.survey import Surveyor
from gatepost.message.address import parse
from gatepost.message.direction import Direction, Site
from gatepost.message.transaction import Recipient

BOB = Recipient(parse(b"<bob@partner.test>"))
SITE = Site(frozenset({"hosp.test"}))


def surveyor(world: World) -> Surveyor:
    return Surveyor(
        site=SITE,
        aliases=Aliases(world.resolve, SITE.is_internal),
        partners=world,
        keys=FakeKeys(world),
        threads=world,
        encryptor=FakeCertificates(),
        min_trust=Trust.WKD,
    )


@pytest.mark.parametrize(
    ("partner", "usable"),
    [
        (None, False),
        (Partner("partner.test"), False),
        (Partner("partner.test", tls="verify"), True),
        (Partner("partner.test", tls="fingerprint:" + "a" * 64), True),
        (Partner("partner.test", tls="dane"), False),
    ],
)
def test_tls_needs_a_policy_that_is_served(partner: Partner | None, usable: bool) -> None:
    """Without a row that verifies the other side, TLS protects nothing, and the reason is told."""
    facts = RecipientFacts(BOB, Direction.OUT, partner=partner)

    rung = surveyor(World()).with_rungs(facts).rungs[Treatment.TLS]

    assert rung.usable is usable
    assert rung.reason


@pytest.mark.parametrize(("trust", "usable"), [(Trust.WKD, True), (Trust.ADMIN, True), (Trust.KEYSERVER, False)])
def test_keys_below_the_least_trust_are_not_used(trust: Trust, usable: bool) -> None:
    """A key of just the least trust counts, a lower one does not."""
    world = World()
    world.key("bob@partner.test", trust=trust)

    rung = surveyor(world).with_rungs(RecipientFacts(BOB, Direction.OUT)).rungs[Treatment.OPENPGP]

    assert rung.usable is usable
    assert bool(rung.keys) is usable


def test_of_tied_recipients_the_strictest_row_counts() -> None:
    """Where aliases lead to several outside, what one of them demands holds for all."""
    world = World()
    world.partner("lax.test", demand="none")
    world.partner("strict.test", demand="encrypt")
    leads_to = (parse(b"<a@lax.test>"), parse(b"<b@strict.test>"))
    tied = Recipient(parse(b"<all@hosp.test>"), tied=True, leads_to=leads_to)

    row = surveyor(world)._partner(tied)

    assert row is not None
    assert row.pattern == "strict.test"
