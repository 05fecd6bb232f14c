"""What nobody knows now: it never lowers protection, and where nothing else is usable the message is put off."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.decision.condition import Everything, RecipientsOver, SizeOver
from gatepost.decision.demand import ENCRYPTING, Demand, Treatment
from gatepost.decision.engine import decide, demand_of, may_demand, reachable
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.decision.ladder import Ladders
from gatepost.decision.plan import Answer, Plan
from gatepost.decision.rules import Rule, RuleSet
from gatepost.decision.view import View
from gatepost.directory.partner import Partner
from gatepost.message.address import parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient

T = Treatment
ROW = Partner("partner.test", tls="verify")
VIEW = View("a@hosp.test", outside=1, size=100, finds={})
USABLE = Rung(True, "works", nexthop="partner.test")
NO = Rung(False, "does not work")
UNKNOWN = Rung(False, "the resolver is silent", nexthop="partner.test", unknown=True)


def facts(
    partner: Partner | None = None, *, rungs: Mapping[Treatment, Rung] | None = None, to: str = "bob@partner.test"
) -> RecipientFacts:
    return RecipientFacts(Recipient(parse(f"<{to}>".encode())), Direction.OUT, partner, rungs=rungs or {})


def demanding(demand: Demand, ladder: tuple[Treatment, ...] = ()) -> RuleSet:
    return RuleSet((Rule("a rule", Everything(), demand, ladder=ladder),))


def decided(*people: RecipientFacts, rules: RuleSet, no_rung: Treatment = T.QUARANTINE, view: View = VIEW) -> Plan:
    return decide(view, people, rules, Ladders(), no_rung)


class TestPutOff:
    @pytest.mark.parametrize("no_rung", [T.QUARANTINE, T.REJECT])
    def test_without_another_rung(self, no_rung: Treatment) -> None:
        """Nothing is held or refused that may go a little later: the client keeps the whole message."""
        plan = decided(facts(rungs={T.TLS: UNKNOWN}), rules=demanding(Demand.TLS), no_rung=no_rung)

        assert (plan.answer, plan.copies) == (Answer.TEMPFAIL, ())
        assert plan.judgements[0].treatment is T.TEMPFAIL
        assert "tls: the resolver is silent" in plan.judgements[0].reasons
        assert "no rung is usable now, and tls may be later" in plan.judgements[0].reasons[-1]

    def test_for_all_recipients(self) -> None:
        """Nobody gets a copy of a message that comes again."""
        other = facts(to="ann@other.test", rungs={T.TLS: USABLE})
        plan = decided(facts(rungs={T.TLS: UNKNOWN}), other, rules=demanding(Demand.TLS))

        assert (plan.answer, plan.copies) == (Answer.TEMPFAIL, ())

    def test_another_rung_is_taken(self) -> None:
        """A rung below the unknown one is as good as the ladder says."""
        plan = decided(facts(rungs={T.TLS: UNKNOWN, T.OPENPGP: USABLE}), rules=demanding(Demand.TLS))

        assert (plan.answer, plan.judgements[0].treatment) == (Answer.ACCEPT, T.OPENPGP)

    def test_a_refusal_wins(self) -> None:
        """What will be refused however the look-up ends is refused now."""
        refused = facts(to="ann@other.test", rungs={T.TLS: NO})
        rules = demanding(Demand.TLS)
        plan = decided(facts(rungs={T.TLS: UNKNOWN}), refused, rules=rules, no_rung=T.REJECT)

        assert plan.answer is Answer.REJECT

    def test_an_unknown_that_would_not_be_taken_holds_nothing_up(self) -> None:
        """Where a rule says that TLS does not protect, nobody waits to hear whether it is assured."""
        doubting = Rule("free mail", Everything(), Demand.NONE, tls_protects=False)
        rules = RuleSet((*demanding(Demand.TLS).rules, doubting))
        plan = decided(facts(rungs={T.TLS: UNKNOWN}), rules=rules)

        assert plan.judgements[0].treatment is T.QUARANTINE

    def test_what_is_not_demanded_passes(self) -> None:
        """Mail that nothing asks to protect does not wait for anything."""
        assert decided(facts(rungs={T.TLS: UNKNOWN}), rules=RuleSet()).answer is Answer.ACCEPT


WORDS = st.sampled_from([T.TLS, T.OPENPGP, T.SMIME])
LADDERS = st.lists(WORDS, unique=True).map(tuple)
RUNGS = st.dictionaries(WORDS, st.sampled_from([USABLE, NO, UNKNOWN]))
ROWS = st.none() | st.builds(
    Partner,
    st.just("partner.test"),
    demand=st.sampled_from(["none", "tls", "encrypt"]),
    ladder=LADDERS,
    tls=st.sampled_from(["", "verify", "dane"]),
)
RULES = st.lists(
    st.builds(
        Rule,
        st.just("a rule"),
        st.just(Everything()),
        st.sampled_from(Demand),
        ladder=LADDERS,
        tls_protects=st.booleans(),
        pilot=st.booleans(),
    ),
    max_size=4,
).map(lambda rules: RuleSet(tuple(rules)))
PEOPLE = st.lists(st.builds(facts, ROWS, rungs=RUNGS), min_size=1, max_size=4).map(
    lambda people: [
        replace(one, recipient=Recipient(parse(f"<u{number}@partner.test>".encode())))
        for number, one in enumerate(people)
    ]
)
NO_RUNG = st.sampled_from([T.QUARANTINE, T.REJECT])


def settled(people: list[RecipientFacts], rung: Rung) -> list[RecipientFacts]:
    """Give the same people once the look-ups have ended."""
    return [
        replace(one, rungs={word: rung if found.unknown else found for word, found in one.rungs.items()})
        for one in people
    ]


@given(RULES, PEOPLE, NO_RUNG)
def test_an_unknown_never_lowers_protection(
    rules: RuleSet, people: list[RecipientFacts], no_rung: Treatment
) -> None:
    """An unknown counts as unusable: the next rung, or, in the place of what `no_rung` says, the message waits."""
    now = decided(*people, rules=rules, no_rung=no_rung)
    as_no = decided(*settled(people, NO), rules=rules, no_rung=no_rung)

    for found, known, one in zip(now.judgements, as_no.judgements, people, strict=True):
        if found.treatment is T.TEMPFAIL:
            assert known.treatment is no_rung
            assert any(rung.unknown for rung in one.rungs.values())
        else:
            assert found.treatment is known.treatment
        assert found.demand is known.demand
        if found.treatment is T.TLS or found.treatment in ENCRYPTING:
            assert one.rungs[found.treatment].usable
    waits = any(one.treatment is T.TEMPFAIL for one in now.judgements)
    refused = any(one.treatment is T.REJECT for one in now.judgements)
    assert (now.answer is Answer.TEMPFAIL) is (waits and not refused)
    assert not (waits and now.copies)


@given(RULES, PEOPLE, NO_RUNG)
def test_nobody_is_left_out_who_could_take_tls(
    rules: RuleSet, people: list[RecipientFacts], no_rung: Treatment
) -> None:
    """Whoever would get a copy over TLS if it were assured was asked about at the end of the header."""
    can = [replace(one, rungs={T.TLS: USABLE}) for one in people]

    for found, one in zip(decided(*can, rules=rules, no_rung=no_rung).judgements, people, strict=True):
        if found.treatment is T.TLS:
            assert T.TLS in reachable(VIEW, one, rules, Ladders())


class TestWhoIsAskedAbout:
    def test_nobody_for_whom_nothing_is_demanded(self) -> None:
        """A look-up tells a stranger whom we write to: ordinary mail makes none."""
        assert T.TLS not in reachable(VIEW, facts(ROW), RuleSet(), Ladders())

    def test_nobody_whose_ladders_do_not_name_tls(self) -> None:
        """What no ladder may use is not asked about."""
        assert T.TLS not in reachable(VIEW, facts(), demanding(Demand.ENCRYPT), Ladders())
        assert T.TLS not in reachable(VIEW, facts(), demanding(Demand.TLS, (T.OPENPGP,)), Ladders(tls=(T.SMIME,)))

    @pytest.mark.parametrize("demand", [Demand.QUARANTINE, Demand.REJECT])
    def test_nobody_whose_copy_is_held_or_refused(self, demand: Demand) -> None:
        """What does not leave has no next hop."""
        rules = RuleSet((*demanding(Demand.TLS).rules, *demanding(demand).rules))

        assert T.TLS not in reachable(VIEW, facts(ROW), rules, Ladders())

    def test_nobody_to_whom_tls_does_not_protect(self) -> None:
        """A rule that certainly counts and does not trust TLS leaves nothing to ask."""
        doubting = Rule("free mail", Everything(), Demand.NONE, tls_protects=False)

        assert T.TLS not in reachable(
            VIEW, facts(ROW), RuleSet((*demanding(Demand.TLS).rules, doubting)), Ladders()
        )

    def test_only_those_outside(self) -> None:
        """Colleagues have no next hop of their own."""
        inside = replace(facts(ROW), direction=Direction.INTERNAL)

        assert T.TLS not in reachable(VIEW, inside, demanding(Demand.TLS), Ladders())

    @pytest.mark.parametrize("demand", [Demand.TLS, Demand.ENCRYPT])
    def test_whose_row_assures_it(self, demand: Demand) -> None:
        """A partner row with TLS puts it before the site's ladder, for either demand."""
        assert T.TLS in reachable(VIEW, facts(ROW), demanding(demand), Ladders())

    def test_who_is_given_tls_by_a_rule(self) -> None:
        """A rule's own ladder with TLS counts where the site's has none."""
        assert T.TLS in reachable(VIEW, facts(), demanding(Demand.TLS, (T.TLS,)), Ladders(tls=(T.SMIME,)))

    def test_who_may_come_to_take_it(self) -> None:
        """What is not known at the end of the header counts as if it held, and what is not held never."""
        large = RuleSet((Rule("large", SizeOver(10), Demand.TLS),))
        many = RuleSet((Rule("many", RecipientsOver(10), Demand.TLS),))

        assert T.TLS in reachable(replace(VIEW, size=None), facts(), large, Ladders())
        assert T.TLS not in reachable(VIEW, facts(), many, Ladders())

    def test_a_pilot_asks_nobody(self) -> None:
        """A rule that is tried out has no effect, on look-ups neither."""
        pilot = RuleSet((Rule("pilot", Everything(), Demand.TLS, pilot=True),))

        assert T.TLS not in reachable(VIEW, facts(), pilot, Ladders())


class TestRequireTls:
    ASKED = replace(VIEW, requiretls=True)

    def test_it_demands_tls_of_outsiders(self) -> None:
        """Who asked for verified TLS on the whole way (RFC 8689) gets it, or something stronger."""
        found = demand_of(self.ASKED, facts(), RuleSet())

        assert (found.demand, found.mark) == (Demand.TLS, False)
        assert "the sender asked for REQUIRETLS: demands tls" in found.reasons
        assert may_demand(self.ASKED, facts(), RuleSet())
        assert T.TLS in reachable(self.ASKED, facts(), RuleSet(), Ladders())

    def test_it_lowers_nothing(self) -> None:
        """A rule that demands more still does."""
        assert demand_of(self.ASKED, facts(), demanding(Demand.ENCRYPT)).demand is Demand.ENCRYPT

    def test_it_demands_nothing_inside(self) -> None:
        """Colleagues are reached without leaving the house."""
        inside = replace(facts(), direction=Direction.INTERNAL)

        assert demand_of(self.ASKED, inside, RuleSet()).demand is Demand.NONE
