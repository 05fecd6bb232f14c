"""What the directory allows for one recipient."""

from collections.abc import Mapping

import pytest
from tests.fakes import FakeCertificates, FakeKeys, World

from gatepost.crypto.certificate import Certificate
from gatepost.decision.demand import Treatment
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.directory.key import Trust
from gatepost.directory.thread import hashed
from gatepost.errors import CryptoError
from gatepost.gateway.aliases import Aliases, Destination
from gatepost.gateway.survey import Surveyor
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import FROM_INSIDE, FROM_OUTSIDE, Direction, Site
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

BOB = Recipient(parse(b"<bob@partner.test>"))
SITE = Site(frozenset({"hosp.test"}))


def surveyor(world: World, *, aliases: Aliases | None = None, reader: FakeCertificates | None = None) -> Surveyor:
    return Surveyor(
        site=SITE,
        aliases=aliases or Aliases(world.resolve, SITE.is_internal),
        partners=world,
        keys=FakeKeys(world),
        threads=world,
        reader=reader or FakeCertificates(),
        min_trust=Trust.WKD,
        capabilities=world,
        routes=world.route,
    )


def rungs(built: Surveyor) -> Mapping[Treatment, Rung]:
    """Give what bob can take, of all there is."""
    hops = built.next_hops(message(BOB))
    return built.with_rungs(RecipientFacts(BOB, Direction.OUT), frozenset(Treatment), hops).rungs


@pytest.mark.parametrize("reachable", [{Treatment.OPENPGP}, {Treatment.SMIME}, {Treatment.PICKUP}, set()])
def test_nobody_asks_for_what_cannot_be_reached(reachable: set[Treatment]) -> None:
    """Keys are looked up, and next hops asked about, for treatments alone that a ladder may come to."""
    world = World()
    world.key("bob@partner.test")
    built = surveyor(world)
    hops = built.next_hops(message(BOB))
    found = built.with_rungs(RecipientFacts(BOB, Direction.OUT), reachable, hops).rungs

    assert set(found) == reachable & {Treatment.OPENPGP, Treatment.SMIME}


@pytest.mark.parametrize(("trust", "usable"), [(Trust.WKD, True), (Trust.ADMIN, True), (Trust.KEYSERVER, False)])
def test_keys_below_the_least_trust_are_not_used(trust: Trust, usable: bool) -> None:
    """A key of just the least trust counts, a lower one does not."""
    world = World()
    world.key("bob@partner.test", trust=trust)

    rung = rungs(surveyor(world))[Treatment.OPENPGP]

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


class BrokenCertificates(FakeCertificates):
    """Can read no certificate."""

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        raise CryptoError(f"no certificate: {len(data)} octets")


def test_a_certificate_that_cannot_be_read_is_not_used() -> None:
    """Nothing is encrypted to what cannot be read, and the reason says what is wrong with it."""
    world = World()
    world.key("bob@partner.test")
    built = surveyor(world, reader=BrokenCertificates())

    rung = rungs(built)[Treatment.OPENPGP]

    assert not rung.usable
    assert "no certificate" in rung.reason


def message(recipient: Recipient, *, listener: str = "", sender: bytes = b"<>", kind: bytes = b"") -> Transaction:
    fields = (Field(b"References", b" <1@hosp.test>"), Field(b"Content-Type", kind))
    client = Client(listener=listener)
    return Transaction(client, parse(sender), (), (recipient,), fields, MemoryBody(b"body\r\n"), "4XYZ")


@pytest.mark.parametrize(
    ("listener", "ends"), [(FROM_INSIDE, "left@hosp.test"), (FROM_OUTSIDE, "left@hosp.test"), ("", "bob@out.test")]
)
def test_behind_the_expansion_only_what_is_left_is_followed(listener: str, ends: str) -> None:
    """An alias that the mail server has expanded is not followed once more; elsewhere it is."""
    aliases = Aliases(
        lambda _: (Destination(parse(b"<bob@out.test>")),),
        SITE.is_internal,
        behind=lambda _: (Destination(parse(b"<left@hosp.test>")),),
    )
    transaction = message(Recipient(parse(b"<team@hosp.test>")), listener=listener)

    (found,) = surveyor(World(), aliases=aliases).facts(transaction, inside=True)

    assert [ends] == [one.text for one in (found.recipient.targets or (found.recipient.address,))]


@pytest.mark.parametrize("name", [b"Message-ID", b"In-Reply-To", b"References", b"Resent-Message-ID"])
def test_every_field_may_name_a_protected_conversation(name: bytes) -> None:
    """A message belongs to it by its own Message-ID, what it answers, or what it was before it was sent on."""
    world = World()
    world.threads = {hashed("<1@hosp.test>")}

    assert surveyor(world).in_thread((Field(name, b" <1@hosp.test>"),))


REPORT = b" multipart/report; report-type=delivery-status; boundary=b"


@pytest.mark.parametrize(
    ("inside", "sender", "kind", "returns"),
    [
        (True, b"<>", REPORT, True),
        (False, b"<>", REPORT, False),
        (True, b"<alice@hosp.test>", b" text/plain", False),
    ],
)
def test_only_reports_of_ours_return_something(inside: bool, sender: bytes, kind: bytes, returns: bool) -> None:
    """An answer in a protected conversation is no report about it, nor do we cut what others report."""
    world = World()
    world.threads = {hashed("<1@hosp.test>")}

    found = surveyor(world).returned(message(BOB, sender=sender, kind=kind), inside=inside)

    assert returns is (found is not None)
