"""Whether mail may be encrypted to a key: what it says of itself, and who vouches for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from lab.mail_authority import root
from tests.fakes import FakeKeys, World
from tests.gateways import SITE

from gatepost.crypto.certification import Certified
from gatepost.crypto.x509 import X509Reader
from gatepost.decision.demand import Treatment
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.directory.key import Key, Trust
from gatepost.gateway.aliases import Aliases
from gatepost.gateway.fitness import Fitness
from gatepost.gateway.next_hops import NextHops
from gatepost.gateway.survey import Surveyor
from gatepost.message.address import NULL_SENDER, parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient

ROOT = root()


@dataclass
class Authorities:
    """The port `Certification`, which says one thing."""

    says: Certified
    asked: list[bytes] = field(default_factory=list)

    def judge(
        self, certificate: bytes, beside: Sequence[bytes] = (), *, moment: datetime | None = None
    ) -> Certified:
        assert (list(beside), moment) == ([], None)
        self.asked.append(certificate)
        return self.says


VOUCH, REVOKED = Certified("", "CN=Root"), Certified("revoked on 2026-03-01", "CN=Root")
SILENT = Certified("whether it is revoked is not known", "CN=Root", temporary=True)


def key(names: str = "bob@partner.test", owner: str = "bob@partner.test", trust: Trust = Trust.CA) -> Key:
    """Give a certificate that names an address, under an owner."""
    return Key("FPR", "smime", owner, ROOT.person(names).der, trust)


@pytest.mark.parametrize("says", [VOUCH, REVOKED, SILENT])
def test_trust_ca_is_what_authorities_say(says: Certified) -> None:
    """A certificate of trust `ca` is good while authorities vouch for it."""
    assert Fitness(X509Reader(), Authorities(says)).refusal(key()) == says.refusal


@pytest.mark.parametrize("trust", [one for one in Trust if one is not Trust.CA])
def test_others_are_pinned(trust: Trust) -> None:
    """For every other trust somebody here vouches: no authority is asked."""
    authorities = Authorities(REVOKED)

    assert Fitness(X509Reader(), authorities).refusal(key(trust=trust)) == ""
    assert not authorities.asked


OWNERS = [
    ("domain-confidentiality-authority@partner.test", "partner.test", True),
    ("office@partner.test", "partner.test", True),
    ("Office@PARTNER.test", "partner.test", True),
    ("office@sub.partner.test", "partner.test", False),
    ("office@evilpartner.test", "partner.test", False),
    ("eve@evil.test", "partner.test", False),
    ("eve@evil.test", "bob@partner.test", False),
    ("eve@partner.test", "bob@partner.test", False),
]


@pytest.mark.parametrize(("names", "owner", "fits"), OWNERS)
def test_an_authority_vouches_for_whom_it_names(names: str, owner: str, *, fits: bool) -> None:
    """Under a domain, a certificate of trust `ca` names an address there (RFC 3183); else its own."""
    authorities = Authorities(VOUCH)

    found = Fitness(X509Reader(), authorities).refusal(key(names, owner))

    assert bool(found) is not fits
    assert fits or found == f"it does not name {owner}, and an authority vouches only for whom it names"
    assert bool(authorities.asked) is fits


@pytest.mark.parametrize(("names", "owner", "fits"), OWNERS)
def test_pinned_ones_need_not_name_the_domain(names: str, owner: str, *, fits: bool) -> None:
    """Whoever puts a certificate under a domain vouches that it is for that domain."""
    del fits
    assert Fitness(X509Reader(), Authorities(REVOKED)).refusal(key(names, owner, Trust.ADMIN)) == ""


def test_what_it_says_of_itself_comes_first() -> None:
    """For a certificate that is no good by itself no authority is asked, nor for an OpenPGP key."""
    authorities = Authorities(VOUCH)
    fitness = Fitness(X509Reader(), authorities)

    assert "can be read" in fitness.refusal(Key("FPR", "smime", "bob@partner.test", b"0", Trust.CA))
    assert "authority's" in fitness.refusal(Key("FPR", "smime", "bob@partner.test", ROOT.der, Trust.CA))
    fitness.refusal(Key("FPR", "openpgp", "bob@partner.test", ROOT.person("bob@partner.test").der, Trust.CA))
    assert not authorities.asked


@pytest.mark.parametrize("says", [VOUCH, REVOKED, SILENT])
def test_the_rung(says: Certified) -> None:
    """S/MIME can be used while authorities vouch for the certificate; else the reason says why not."""
    world = World()
    world.keys["bob@partner.test"] = key()
    surveyor = Surveyor(
        site=SITE,
        aliases=Aliases(world.resolve, SITE.is_internal),
        partners=world,
        keys=FakeKeys(world),
        threads=world,
        reader=X509Reader(),
        min_trust=Trust.CA,
        capabilities=world,
        routes=world.route,
        certification=Authorities(says),
    )
    facts = RecipientFacts(Recipient(parse(b"<bob@partner.test>")), Direction.OUT)
    hops = NextHops(world, world.route, NULL_SENDER)

    rung: Rung = surveyor.with_rungs(facts, {Treatment.SMIME}, hops).rungs[Treatment.SMIME]

    assert rung.usable is (not says.refusal)
    assert says.refusal in rung.reason
