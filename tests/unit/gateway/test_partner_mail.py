"""Mail that says it comes from a partner, through the whole gateway."""

from dataclasses import replace
from uuid import UUID

import pytest
from tests.fakes import FakeJournal, World
from tests.gateways import OUTSIDE, gateway_over, message, processed

from gatepost.gateway.budget import Budget
from gatepost.gateway.journal import Journal
from gatepost.gateway.verdict import Accept, Discard, TempFail, Verdict
from gatepost.message.address import NULL_SENDER
from gatepost.message.direction import FROM_OUTSIDE
from gatepost.message.edit import apply
from gatepost.message.field import Field, named
from gatepost.message.transaction import Came, Client, Transaction

BY_TLS = replace(OUTSIDE, came=Came.TLS)
FROM = Field(b"From", b" Boss <boss@partner.test>")
DOC, _ID = "doc@hosp.test", UUID(int=1)


def world_with(inbound: str, action: str) -> World:
    world = World()
    world.partner("partner.test", inbound=inbound, inbound_action=action)
    return world


def incoming(
    *, sender: str = "x@elsewhere.test", client: Client = OUTSIDE, fields: tuple[Field, ...] = (FROM,)
) -> Transaction:
    """Make a message from outside with only these From fields."""
    made = message(DOC, client=client, sender=sender)
    rest = tuple(one for one in made.fields if one.key != b"from")
    return replace(made, fields=(*fields, *rest))


def result(verdict: Verdict, transaction: Transaction) -> str:
    assert isinstance(verdict, Accept)
    (found,) = named(apply(transaction.fields, verdict.form.edits), b"gatepost-result")
    return found.value.decode()


@pytest.mark.parametrize("came", list(Came))
def test_every_message_says_how_it_came(came: Came) -> None:
    """`came=` stands in the result of all mail that comes in, partner or not."""
    transaction = incoming(client=replace(OUTSIDE, came=came), fields=())
    world = World()

    assert result(processed(gateway_over(world), transaction), transaction).endswith(f"; came={came}")
    assert [one.detail for one in world.events] == [{"came": came.value}]


@pytest.mark.parametrize(
    "transaction",
    [
        incoming(),
        incoming(sender="boss@partner.test", fields=()),
        incoming(fields=(Field(b"From", b" me@elsewhere.test"), FROM)),
        incoming(fields=(Field(b"From", b" me@elsewhere.test, boss@partner.test"),)),
        replace(incoming(), sender=NULL_SENDER),
    ],
)
def test_a_partner_named_anywhere_counts(transaction: Transaction) -> None:
    """By the envelope or by From, first or second, with a null sender too: who writes the name gets the flag."""
    verdict = processed(gateway_over(world_with("tls", "flag")), transaction)

    assert result(verdict, transaction).endswith("; came=plain; flag=unprotected")


@pytest.mark.parametrize(("others", "waits"), [((DOC,), True), ((), False)])
def test_beside_those_in_transit(others: tuple[str, ...], waits: bool) -> None:
    """What a row asks is asked for those of ours, whoever else is named; for mail in transit alone nothing is."""
    made = message(*others, "eve@relayed.test", client=OUTSIDE, sender="boss@partner.test")
    verdict = processed(gateway_over(world_with("tls", "tempfail")), made)

    assert isinstance(verdict, TempFail) is waits


def test_what_came_as_asked_has_no_flag() -> None:
    """By TLS nothing is flagged, and the body is not even taken."""
    world, transaction = world_with("tls", "tempfail"), incoming(client=BY_TLS)
    gateway = gateway_over(world)

    assert not gateway.survey(transaction).needs_body
    assert result(processed(gateway, transaction), transaction).endswith("; came=tls")


def test_put_off() -> None:
    """`tempfail` sends and stores nothing; the reply says what would be taken, the log line names the row."""
    world = world_with("tls", "tempfail")
    verdict = processed(gateway_over(world), incoming())

    assert isinstance(verdict, TempFail)
    assert "TLS" in " ".join(verdict.lines)
    assert "partner.test" not in " ".join(verdict.lines)
    assert (verdict.enhanced, verdict.cause) == ("4.7.1", "unprotected")
    assert "partner.test" in verdict.told
    assert [] == world.submitted == world.held == world.events


def test_held() -> None:
    """`quarantine` holds the copy, and the row that asked for it is the cause."""
    world = world_with("encrypt", "quarantine")
    verdict = processed(gateway_over(world), incoming(client=BY_TLS, sender="boss@partner.test"))

    assert verdict == Discard()
    assert [one.recipient.address.text for one in world.held] == [DOC]
    assert "partner.test" in world.held[0].reasons[0]


def test_a_release_delivers_with_the_flag() -> None:
    """What was held goes to its recipient once an admin says so, and says that it came unprotected."""
    world = world_with("tls", "quarantine")
    budget = Budget(60, keepalive=lambda: None)
    transaction = incoming()
    with Journal(FakeJournal(World()), holder="release").release(_ID, transaction, budget) as attempt:
        attempt.find()
        gateway_over(world).release(transaction, budget, attempt)

    (copy,) = world.submitted
    assert copy.recipients[0].address.text == DOC
    assert named(copy.fields, b"gatepost-result")[0].value.endswith(b"; came=plain; flag=unprotected")


@pytest.mark.parametrize(("protocol", "came"), [(b"ESMTPS", "tls"), (b"ESMTP", "plain")])
def test_behind_alias_expansion_the_entrance_counts(protocol: bytes, came: str) -> None:
    """There the step to us is always by TLS; how the client came stands in the entrance's Received field."""
    client = replace(BY_TLS, listener=FROM_OUTSIDE, came=Came.VERIFIED)
    text = b" from x (unknown [192.0.2.1])\n\tby mail.hosp.test (Postfix) with " + protocol + b" id 4Q\n\tfor <y>"
    transaction = incoming(client=client, fields=(Field(b"Received", text),))

    assert result(processed(gateway_over(World()), transaction), transaction).endswith(f"; came={came}")
