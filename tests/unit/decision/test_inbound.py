"""Mail from partners: how it came, held against what their rows ask."""

from dataclasses import replace

import pytest

from gatepost.decision import engine
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.facts import RecipientFacts
from gatepost.decision.inbound import Inbound
from gatepost.decision.ladder import Ladders
from gatepost.decision.plan import Answer, Plan
from gatepost.decision.rules import RuleSet
from gatepost.decision.view import View
from gatepost.directory.partner import Partner
from gatepost.message.address import parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Came, Recipient

DOC = Recipient(parse(b"<doc@hosp.test>"))


def row(inbound: str, action: str = "flag", pattern: str = "partner.test", **columns: str) -> Partner:
    return Partner(pattern, inbound=inbound, inbound_action=action, **columns)  # type: ignore[arg-type]


def decided(inbound: Inbound, *directions: Direction, recipient: Recipient = DOC) -> Plan:
    facts = [RecipientFacts(recipient, one) for one in directions or (Direction.IN,)]
    return engine.decide(View("<>", inbound=inbound), facts, RuleSet(), Ladders(), Treatment.QUARANTINE)


class TestWhatMeetsADemand:
    @pytest.mark.parametrize(
        ("demand", "came", "encrypted", "met"),
        [
            ("none", Came.PLAIN, False, True),
            ("tls", Came.PLAIN, False, False),
            ("tls", Came.TLS, False, True),
            ("tls", Came.VERIFIED, False, True),
            ("tls", Came.PLAIN, True, True),
            ("encrypt", Came.PLAIN, False, False),
            ("encrypt", Came.TLS, False, False),
            ("encrypt", Came.VERIFIED, False, False),
            ("encrypt", Came.PLAIN, True, True),
        ],
    )
    def test_by_connection_and_encryption(self, demand: str, came: Came, *, encrypted: bool, met: bool) -> None:
        """TLS meets `tls`; a message that is truly encrypted meets both; nothing else does."""
        inbound = replace(Inbound.of(came, "", [row(demand)]), encrypted=encrypted)

        assert (inbound.unmet == ()) is met
        assert inbound.action == ("" if met else "flag")

    def test_each_row_counts_and_the_strictest_action(self) -> None:
        """Every row's demand must hold; of the actions of those that do not the strictest counts."""
        rows = [row("tls", "tempfail"), row("encrypt", "flag", "a@b.test"), row("encrypt", "quarantine", "c.test")]

        assert Inbound.of(Came.PLAIN, "", rows).action == "tempfail"
        assert Inbound.of(Came.TLS, "", rows).action == "quarantine"
        assert Inbound.of(Came.TLS, "", rows[:2]).action == "flag"
        assert Inbound.of(Came.TLS, "", rows[:1]).action == ""


class TestVerified:
    def test_is_what_the_mail_server_trusted(self) -> None:
        """Without a name in the table, any certificate that the mail server trusts is verified."""
        assert Inbound.of(Came.VERIFIED, "", [row("tls")]).came is Came.VERIFIED
        assert Inbound.of(Came.VERIFIED, "x", [row("tls")]).came is Came.VERIFIED
        assert Inbound.of(Came.VERIFIED, "x", []).came is Came.VERIFIED

    def test_means_the_name_in_the_row(self) -> None:
        """Where the row names the partner's certificate, another's is no more than TLS."""
        rows = [row("none", tls="verify", tls_name="mx.partner.test")]

        assert Inbound.of(Came.VERIFIED, "MX.partner.test", rows).came is Came.VERIFIED
        assert Inbound.of(Came.VERIFIED, "mx.evil.test", rows).came is Came.TLS
        assert Inbound.of(Came.VERIFIED, "", rows).came is Came.TLS
        assert Inbound.of(Came.TLS, "mx.partner.test", rows).came is Came.TLS
        assert Inbound.of(Came.PLAIN, "mx.partner.test", rows).came is Came.PLAIN


class TestActions:
    def test_flag_delivers(self) -> None:
        """A flagged message goes on, and the reason names the row, what it asks and how the message came."""
        plan = decided(Inbound.of(Came.PLAIN, "", [row("tls")]))

        assert (plan.answer, plan.judgements[0].treatment) == (Answer.ACCEPT, Treatment.PASS)
        assert plan.judgements[0].reasons[0] == (
            "partner partner.test asks that its mail come by tls; it came in clear: flag"
        )

    def test_quarantine_holds(self) -> None:
        """What is to be held is held, and says why."""
        plan = decided(Inbound.of(Came.PLAIN, "", [row("encrypt", "quarantine")]))

        assert plan.judgements[0].treatment is Treatment.QUARANTINE
        assert plan.judgements[0].demand is Demand.QUARANTINE
        assert "partner.test" in plan.judgements[0].reasons[0]

    def test_tempfail_puts_the_whole_message_off(self) -> None:
        """Nobody gets a copy, not even one in transit."""
        inbound = Inbound.of(Came.PLAIN, "", [row("tls", "tempfail")])
        plan = decided(inbound, Direction.IN, Direction.TRANSIT)

        assert (plan.answer, plan.copies) == (Answer.TEMPFAIL, ())

    def test_what_is_met_is_told(self) -> None:
        """`explain` shows that a row was found and that its demand holds."""
        plan = decided(Inbound.of(Came.TLS, "", [row("tls", "tempfail")]))

        assert plan.judgements[0].reasons[0] == (
            "partner partner.test asks that its mail come by tls; it came by TLS"
        )

    @pytest.mark.parametrize(
        ("came", "told"),
        [
            (Came.PLAIN, "came in clear: flag"),
            (Came.TLS, "came by TLS: flag"),
            (Came.VERIFIED, "came by TLS from a trusted certificate: flag"),
        ],
    )
    def test_how_it_came_is_told(self, came: Came, told: str) -> None:
        """The reason tells people what Postfix saw."""
        assert Inbound.of(came, "", [row("encrypt")]).reasons[0].endswith(f"; it {told}")

    @pytest.mark.parametrize("direction", [Direction.OUT, Direction.INTERNAL, Direction.TRANSIT])
    @pytest.mark.parametrize("action", ["quarantine", "tempfail"])
    def test_only_mail_that_comes_in_is_concerned(self, direction: Direction, action: str) -> None:
        """For other directions nothing is asked."""
        plan = decided(Inbound.of(Came.PLAIN, "", [row("tls", action)]), direction)

        assert (plan.answer, plan.judgements[0].treatment) == (Answer.ACCEPT, Treatment.PASS)

    @pytest.mark.parametrize("action", ["quarantine", "tempfail"])
    def test_insiders_behind_aliases_that_cannot_be_parted_are_concerned(self, action: str) -> None:
        """An alias with insiders and outsiders behind it is no way around."""
        tied = replace(DOC, tied=True)
        plan = decided(Inbound.of(Came.PLAIN, "", [row("tls", action)]), Direction.TRANSIT, recipient=tied)

        assert plan.answer is {"quarantine": Answer.DISCARD, "tempfail": Answer.TEMPFAIL}[action]

    def test_a_release_lets_go_and_still_tells(self) -> None:
        """What an admin releases is delivered, and still known as unprotected."""
        released = Inbound.of(Came.PLAIN, "", [row("tls", "quarantine")]).released()

        assert decided(released).judgements[0].treatment is Treatment.PASS
        assert released.unmet

    @pytest.mark.parametrize(("came", "needed"), [(Came.PLAIN, True), (Came.TLS, False)])
    def test_the_body_is_taken_only_where_it_can_matter(self, came: Came, *, needed: bool) -> None:
        """Only what does not hold by the connection can hold by the body."""
        view = View("<>", inbound=Inbound.of(came, "", [row("tls")]))

        assert engine.may_demand(view, RecipientFacts(DOC, Direction.IN), RuleSet()) is needed
