"""The decision, a test for each thing it promises."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.decision.condition import Everything, Not
from gatepost.decision.demand import ENCRYPTING, PROTECTING, Demand, Treatment
from gatepost.decision.engine import decide, demand_of, may_demand
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.decision.ladder import Ladders
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.decision.rules import Rule, RuleSet
from gatepost.decision.view import View
from gatepost.directory.key import Key, Trust
from gatepost.directory.partner import Partner
from gatepost.message import address
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.subject import Tags
from gatepost.message.transaction import Recipient

Read = Callable[[str], RuleSet]
T = Treatment
NO_RULES = RuleSet()


def key(name: str) -> Key:
    return Key(name, "openpgp", "partner.test", b"", Trust.ADMIN)


def usable(*treatments: Treatment) -> Mapping[Treatment, Rung]:
    return {one: Rung(usable=True, reason=f"{one} works", keys=(key("AA"),)) for one in treatments}


def facts(to: str = "bob@partner.test", **more: Any) -> RecipientFacts:
    more.setdefault("direction", Direction.OUT)
    return RecipientFacts(Recipient(address.parse(f"<{to}>".encode())), **more)


def view(**more: Any) -> View:
    return View(**{"sender": "a@hosp.test", "outside": 1, "size": 100, "finds": {}, **more})


def decided(
    *recipients: RecipientFacts, rules: RuleSet = NO_RULES, no_rung: Treatment = T.QUARANTINE, **more: Any
) -> Plan:
    return decide(view(**more), recipients, rules, Ladders(), no_rung)


def judged(recipient: RecipientFacts, rules: RuleSet = NO_RULES, **more: Any) -> Judgement:
    return decided(recipient, rules=rules, **more).judgements[0]


def always(demand: Demand, name: str = "rule", **more: Any) -> Rule:
    return Rule(name, Everything(), demand, **more)


def ruled(*rules: Rule) -> RuleSet:
    return RuleSet(rules)


def demanding(*demands: Demand) -> RuleSet:
    return ruled(*(always(demand, f"{demand.word} {index}") for index, demand in enumerate(demands)))


class TestDemand:
    def test_nothing_demanded_passes(self) -> None:
        """Mail that nothing asks to protect passes, and says so."""
        judgement = judged(facts())

        assert (judgement.demand, judgement.treatment) == (Demand.NONE, T.PASS)
        assert judgement.reasons == ("nothing demands protection",)

    def test_the_strictest_wins(self) -> None:
        """Of all demands the strictest counts, and every rule that matched is named."""
        found = demand_of(view(), facts(), demanding(Demand.TLS, Demand.QUARANTINE, Demand.ENCRYPT))

        assert found.demand is Demand.QUARANTINE
        assert [rule.name for rule in found.rules] == ["tls 0", "quarantine 1", "encrypt 2"]
        assert "rule 'encrypt 2' demands encrypt" in found.reasons

    def test_the_partner_has_a_standing_demand(self) -> None:
        """A partner row's demand counts without any rule."""
        judgement = judged(facts(partner=Partner("partner.test", demand="encrypt"), rungs=usable(T.OPENPGP)))

        assert (judgement.demand, judgement.treatment) == (Demand.ENCRYPT, T.OPENPGP)
        assert "partner partner.test demands encrypt" in judgement.reasons

    def test_a_protected_thread_demands_encrypt(self) -> None:
        """A reply in a protected conversation is encrypted, whatever its subject says."""
        judgement = judged(facts(thread=True, rungs=usable(T.OPENPGP)))

        assert (judgement.demand, judgement.treatment, judgement.mark) == (Demand.ENCRYPT, T.OPENPGP, True)
        assert "the conversation was protected: demands encrypt" in judgement.reasons

    @pytest.mark.parametrize("direction", [Direction.INTERNAL, Direction.IN])
    @pytest.mark.parametrize(
        ("demand", "counts"),
        [(Demand.TLS, False), (Demand.ENCRYPT, False), (Demand.QUARANTINE, True), (Demand.REJECT, True)],
    )
    def test_inside_only_quarantine_and_reject_count(
        self, direction: Direction, demand: Demand, *, counts: bool
    ) -> None:
        """Colleagues and incoming mail are never encrypted; they may be held or refused."""
        partner = Partner("partner.test", demand="encrypt")
        recipient = facts(direction=direction, partner=partner, thread=True)

        judgement = judged(recipient, demanding(demand))

        assert judgement.demand is (demand if counts else Demand.NONE)
        assert judgement.rules == ((f"{demand.word} 0",) if counts else ())
        assert may_demand(view(), recipient, demanding(demand)) is counts

    def test_transit_has_no_demand(self) -> None:
        """What is neither from nor for us passes as it came."""
        recipient = facts(direction=Direction.TRANSIT, thread=True, partner=Partner("x", demand="encrypt"))

        assert judged(recipient, demanding(Demand.REJECT)).treatment is T.PASS
        assert not may_demand(view(), recipient, demanding(Demand.REJECT))

    def test_a_pilot_rule_is_shown_and_has_no_effect(self) -> None:
        """An admin can see what a rule would do before it does."""
        judgement = judged(facts(), ruled(always(Demand.REJECT, "new", pilot=True, notify=True)))

        assert (judgement.treatment, judgement.rules, judgement.notify) == (T.PASS, (), False)
        assert "pilot: rule 'new' would demand reject" in judgement.reasons
        assert not may_demand(view(), facts(), ruled(always(Demand.REJECT, pilot=True)))

    def test_an_unknown_never_lowers_protection(self, rules_of: Read) -> None:
        """A size or find that is not known counts as if it were there, and as if a `not` of it were."""
        for when in ("size_over = 9", "not = { size_over = 9 }", 'detect = ["us-ssn"]'):
            rules = rules_of(f'[[rule]]\nname = "r"\nwhen = {{ {when} }}\ndemand = "quarantine"')
            assert may_demand(view(size=None, finds=None), facts(), rules)
            assert judged(facts(), rules, size=None, finds=None).treatment is T.QUARANTINE

    def test_notify_is_handed_on(self) -> None:
        """A rule can ask that the sender be told."""
        assert judged(facts(rungs=usable(T.SMIME)), ruled(always(Demand.ENCRYPT, notify=True))).notify


class TestMayDemand:
    @pytest.mark.parametrize(
        "recipient",
        [facts(partner=Partner("p", demand="tls")), facts(thread=True)],
    )
    def test_partner_and_thread_demand(self, recipient: RecipientFacts) -> None:
        """A standing demand or a thread needs look-ups, rules or none."""
        assert may_demand(view(), recipient, NO_RULES)

    def test_what_cannot_match_does_not_count(self) -> None:
        """Ordinary mail needs neither look-ups nor its body."""
        assert not may_demand(view(), facts(), NO_RULES)
        assert not may_demand(view(), facts(), ruled(Rule("r", Not(Everything()), Demand.REJECT)))


class TestTreatment:
    ENCRYPT = demanding(Demand.ENCRYPT)

    def test_the_first_usable_rung_is_taken(self) -> None:
        """A rung that is not configured or not usable is passed over with its reason."""
        rungs = {
            T.OPENPGP: Rung(usable=False, reason="key 3F expired"),
            T.SECUREDOC: Rung(usable=True, reason="a browser will do"),
            T.PICKUP: Rung(usable=True, reason="portal"),
        }

        judgement = judged(facts(rungs=rungs), self.ENCRYPT)

        assert judgement.treatment is T.SECUREDOC
        assert judgement.reasons[1:] == (
            "smime: not configured",
            "openpgp: key 3F expired",
            "securedoc: a browser will do",
        )

    def test_keys_and_nexthop_come_from_the_rung(self) -> None:
        """The judgement carries what is needed to carry it out."""
        rungs = {T.TLS: Rung(usable=True, reason="row", nexthop="mx.partner.test")}

        assert judged(facts(rungs=rungs), demanding(Demand.TLS)).nexthop == "mx.partner.test"
        assert judged(facts(rungs=usable(T.OPENPGP)), self.ENCRYPT).keys == (key("AA"),)

    def test_the_rules_ladder_comes_first(self) -> None:
        """The first rule at this demand that names a ladder decides, before partner and settings."""
        rules = ruled(
            always(Demand.TLS, "tls", ladder=(T.TLS,)),
            always(Demand.ENCRYPT, "none"),
            always(Demand.ENCRYPT, "first", ladder=(T.PDF,)),
            always(Demand.ENCRYPT, "second", ladder=(T.PICKUP,)),
        )
        recipient = facts(partner=Partner("p", ladder=("smime",)), rungs=usable(*PROTECTING))

        assert judged(recipient, rules).treatment is T.PDF

    def test_the_partners_ladder_comes_second(self) -> None:
        """Without a rule's ladder the partner row's is used."""
        recipient = facts(partner=Partner("p", ladder=("pickup", "smime")), rungs=usable(*PROTECTING))

        assert judged(recipient, self.ENCRYPT).treatment is T.PICKUP

    @pytest.mark.parametrize("demand", [Demand.TLS, Demand.ENCRYPT])
    def test_a_partners_rung_satisfies_up_to_encrypt(self, demand: Demand) -> None:
        """TLS that a partner row names protects well enough for encrypt."""
        recipient = facts(partner=Partner("p", ladder=("tls", "openpgp")), rungs=usable(*PROTECTING))

        assert judged(recipient, demanding(demand)).treatment is T.TLS

    def test_a_partner_with_tls_and_no_ladder(self) -> None:
        """Its TLS comes before the configured ladder, which is used where TLS cannot be."""
        partner = Partner("p", tls="verify")

        assert judged(facts(partner=partner, rungs=usable(*PROTECTING)), self.ENCRYPT).treatment is T.TLS
        assert judged(facts(partner=partner, rungs=usable(T.OPENPGP)), self.ENCRYPT).treatment is T.OPENPGP

    def test_the_configured_ladder(self) -> None:
        """Demand encrypt never takes TLS by itself; demand tls takes it first."""
        recipient = facts(rungs=usable(*PROTECTING))

        assert judged(recipient, self.ENCRYPT).treatment is T.SMIME
        assert judged(recipient, demanding(Demand.TLS)).treatment is T.TLS
        assert judged(facts(rungs=usable(T.TLS)), self.ENCRYPT).treatment is T.QUARANTINE

    @pytest.mark.parametrize("word", ["pass", "quarantine", "nonsense"])
    def test_a_rung_that_protects_nothing_is_passed_over(self, word: str) -> None:
        """A wrong row in the partner table never lets mail out in clear."""
        recipient = facts(partner=Partner("p", ladder=(word,)), rungs=usable(*PROTECTING))

        judgement = judged(recipient, self.ENCRYPT)

        assert judgement.treatment is T.QUARANTINE
        assert f"{word}: protects nothing" in judgement.reasons

    @pytest.mark.parametrize("no_rung", [T.QUARANTINE, T.REJECT])
    def test_without_a_rung_the_setting_decides(self, no_rung: Treatment) -> None:
        """Where nothing works the copy is held or the message refused, as the site has it."""
        judgement = judged(facts(), self.ENCRYPT, no_rung=no_rung)

        assert judgement.treatment is no_rung
        assert judgement.reasons[-1] == f"no rung is usable: {no_rung}"

    @pytest.mark.parametrize("demand", [Demand.TLS, Demand.ENCRYPT])
    def test_already_encrypted_satisfies_encrypt(self, demand: Demand) -> None:
        """A message that its sender encrypted passes as it is."""
        judgement = judged(facts(rungs=usable(*PROTECTING)), demanding(demand), encrypted=True)

        assert (judgement.treatment, judgement.reasons[-1]) == (T.PASS, "already encrypted")

    def test_already_encrypted_does_not_satisfy_more(self) -> None:
        """What must be held is held, encrypted or not."""
        assert judged(facts(), demanding(Demand.QUARANTINE), encrypted=True).treatment is T.QUARANTINE

    def test_demand_quarantine_and_reject_have_no_ladder(self) -> None:
        """A demand to hold or refuse is met by nothing else."""
        recipient = facts(rungs=usable(*PROTECTING))

        assert judged(recipient, demanding(Demand.QUARANTINE)).treatment is T.QUARANTINE
        assert judged(recipient, demanding(Demand.REJECT)).treatment is T.REJECT


DETECT = """
[[rule]]
name = "tagged"
when = { subject_tag = ["*secure*"] }
demand = "encrypt"
[[rule]]
name = "patient data"
when = { detect = ["us-ssn", "payment-card"], at_least = 2 }
demand = "quarantine"
"""
FOUND = {"us-ssn": 1, "payment-card": 1}
TAGGED = frozenset({"*secure*"})


class TestDetection:
    def test_it_judges_what_would_leave_unprotected(self, rules_of: Read) -> None:
        """Finds hold what would pass; a tagged message to a partner with a key is encrypted, not held."""
        recipient = facts(rungs=usable(T.OPENPGP))
        rules = rules_of(DETECT)

        assert judged(recipient, rules, finds=FOUND).treatment is T.QUARANTINE
        assert judged(recipient, rules, finds=FOUND, tags=TAGGED).treatment is T.OPENPGP
        assert judged(recipient, rules, finds=FOUND, tags=TAGGED).rules == ("tagged",)

    def test_at_least_counts_all_named_detectors(self, rules_of: Read) -> None:
        """Finds of the named detectors are added up; others, and unreadable parts, do not count."""
        rules = rules_of(DETECT)

        assert judged(facts(), rules, finds={"us-ssn": 1}).treatment is T.PASS
        assert judged(facts(), rules, finds={"us-ssn": 1, "unreadable": 5}).treatment is T.PASS
        assert judged(facts(), rules, finds={"us-ssn": 2}).treatment is T.QUARANTINE

    def test_unreadable_can_be_asked_for(self, rules_of: Read) -> None:
        """What could not be looked into is a find of its own."""
        rules = rules_of('[[rule]]\nname = "r"\nwhen = { detect = "unreadable" }\ndemand = "quarantine"')

        assert judged(facts(), rules, finds={"unreadable": 1}).treatment is T.QUARANTINE

    @pytest.mark.parametrize(("protects", "treatment"), [("true", T.TLS), ("false", T.QUARANTINE)])
    def test_tls_protects_unless_the_rule_says_no(
        self, rules_of: Read, protects: str, treatment: Treatment
    ) -> None:
        """The rule tells whether TLS keeps what was found well enough."""
        recipient = facts(partner=Partner("p", demand="tls", tls="verify"), rungs=usable(T.TLS))
        rules = rules_of(DETECT + f"tls_protects = {protects}")

        assert judged(recipient, rules, finds=FOUND).treatment is treatment

    def test_a_rule_that_does_not_trust_tls_takes_another_rung(self, rules_of: Read) -> None:
        """Where TLS does not protect a find, the partner's TLS rung is passed over."""
        recipient = facts(partner=Partner("p", demand="tls", tls="verify"), rungs=usable(T.TLS, T.OPENPGP))
        rules = rules_of(DETECT.replace("quarantine", "encrypt") + "tls_protects = false")

        judgement = judged(recipient, rules, finds=FOUND)

        assert judgement.treatment is T.OPENPGP
        assert "tls: rule 'patient data' says that TLS does not protect it" in judgement.reasons

    def test_always_counts_for_protected_copies_too(self, rules_of: Read) -> None:
        """A rule can hold finds even where they would be encrypted."""
        recipient = facts(rungs=usable(T.OPENPGP))

        assert (
            judged(recipient, rules_of(DETECT + "always = true"), finds=FOUND, tags=TAGGED).treatment
            is T.QUARANTINE
        )

    def test_it_judges_internal_and_incoming_mail(self, rules_of: Read) -> None:
        """Finds may hold mail between colleagues."""
        assert judged(facts(direction=Direction.INTERNAL), rules_of(DETECT), finds=FOUND).treatment is T.QUARANTINE

    def test_a_pilot_that_detects_is_shown(self, rules_of: Read) -> None:
        """A detector can be tried out on real mail."""
        judgement = judged(facts(), rules_of(DETECT + "pilot = true"), finds=FOUND)

        assert judgement.treatment is T.PASS
        assert "pilot: rule 'patient data' would demand quarantine" in judgement.reasons


class TestMark:
    def test_a_standing_demand_alone_leaves_the_subject(self) -> None:
        """A partner whose mail is always protected gets its subjects untouched."""
        partner = Partner("p", demand="encrypt")

        assert not judged(facts(partner=partner, rungs=usable(T.SMIME))).mark

    def test_a_rule_that_demands_nothing_marks_nothing(self) -> None:
        """Beside a standing demand, a rule without demand leaves the subject untouched."""
        recipient = facts(partner=Partner("p", demand="encrypt"), rungs=usable(T.SMIME))

        assert not judged(recipient, demanding(Demand.NONE)).mark

    @pytest.mark.parametrize("mark", [True, False])
    def test_a_rule_marks_unless_it_says_no(self, *, mark: bool) -> None:
        """`mark = false` leaves the subject as it was written."""
        rules = ruled(always(Demand.ENCRYPT, mark=mark))
        fields = (Field(b"Subject", b" Hello"),)
        plan = decided(facts(rungs=usable(T.SMIME)), rules=rules, fields=fields, subjects=("Hello",))

        assert plan.judgements[0].mark is mark
        assert plan.copies[0].subject == ("Hello [-Encrypted-]" if mark else "Hello")

    def test_passed_and_held_copies_keep_the_subject(self) -> None:
        """Only protected copies for outsiders bear the mark."""
        fields = (Field(b"Subject", b" *secure* Hello"),)
        rules = RuleSet((always(Demand.ENCRYPT),), Tags.of(["*secure*"]))
        people = (facts("in@hosp.test", direction=Direction.INTERNAL), facts("no@key.test"))
        people += (facts(rungs=usable(T.OPENPGP)),)
        plan = decided(*people, rules=rules, fields=fields, subjects=("*secure* Hello",))

        assert {copy.treatment: copy.subject for copy in plan.copies} == {
            T.PASS: "*secure* Hello",
            T.QUARANTINE: "*secure* Hello",
            T.OPENPGP: "[-Encrypted-] Hello",
        }


class TestReject:
    def test_one_reject_refuses_the_whole_message(self) -> None:
        """Nothing is sent or stored where one recipient is refused."""
        rules = ruled(Rule("r", Everything(), Demand.REJECT))
        plan = decided(facts(), facts("x@y.test", direction=Direction.TRANSIT), rules=rules)

        assert (plan.answer, plan.copies, len(plan.judgements)) == (Answer.REJECT, (), 2)

    def test_a_message_without_recipients_is_an_error(self) -> None:
        """There is nothing to decide, so nothing is accepted and nothing dropped."""
        with pytest.raises(ValueError, match="without recipients"):
            decided()


RULES = st.lists(
    st.builds(
        Rule,
        name=st.uuids().map(str),
        condition=st.sampled_from([Everything(), Not(Everything())]),
        demand=st.sampled_from(Demand),
        ladder=st.sampled_from([(), (T.PDF,), (T.OPENPGP, T.PICKUP)]),
        mark=st.booleans(),
        pilot=st.booleans(),
    ),
    max_size=6,
)
PEOPLE = st.lists(
    st.builds(
        facts,
        to=st.integers(0, 5).map(lambda number: f"user{number}@partner.test"),
        direction=st.sampled_from(Direction),
        partner=st.none()
        | st.builds(
            Partner,
            st.just("partner.test"),
            demand=st.sampled_from(["none", "tls", "encrypt"]),
            ladder=st.sampled_from([(), ("tls",), ("pass",)]),
            tls=st.sampled_from(["", "verify"]),
        ),
        thread=st.booleans(),
        rungs=st.lists(st.sampled_from(sorted(PROTECTING)), unique=True).map(lambda rungs: usable(*rungs)),
    ),
    min_size=1,
    max_size=8,
)


@given(RULES, PEOPLE, st.randoms())
def test_the_order_of_rules_never_changes_a_demand(
    rules: list[Rule], people: list[RecipientFacts], random: Any
) -> None:
    """Demands have no order: shuffled rules demand the same of everybody."""
    shuffled = random.sample(rules, len(rules))

    for one in people:
        assert demand_of(view(), one, ruled(*rules)).demand is demand_of(view(), one, ruled(*shuffled)).demand


@given(RULES, PEOPLE, RULES)
def test_another_rule_never_lowers_a_demand(
    rules: list[Rule], people: list[RecipientFacts], more: list[Rule]
) -> None:
    """Exceptions are conditions; no rule can take back what another demands."""
    for one in people:
        assert demand_of(view(), one, ruled(*rules, *more)).demand >= demand_of(view(), one, ruled(*rules)).demand


@given(RULES, PEOPLE, st.sampled_from([T.QUARANTINE, T.REJECT]), st.booleans())
def test_every_decision_is_whole_and_safe(
    rules: list[Rule], people: list[RecipientFacts], no_rung: Treatment, encrypted: object
) -> None:
    """One judgement and one copy each, at most one copy in place, and nothing demanded passes in clear."""
    plan = decided(*people, rules=ruled(*rules), no_rung=no_rung, encrypted=bool(encrypted))

    assert [judgement.recipient for judgement in plan.judgements] == [one.recipient for one in people]
    sent = sorted(str(recipient.address) for copy in plan.copies for recipient in copy.recipients)
    refused = any(judgement.treatment is T.REJECT for judgement in plan.judgements)
    assert sent == ([] if refused else sorted(str(one.recipient.address) for one in people))
    assert (plan.answer is Answer.REJECT) is refused
    assert sum(copy.in_place for copy in plan.copies) == (1 if plan.answer is Answer.ACCEPT else 0)
    for judgement in plan.judgements:
        if judgement.demand > Demand.NONE and not encrypted:
            assert judgement.treatment is not T.PASS
        if judgement.demand is Demand.ENCRYPT and not encrypted:
            own = any(one.partner for one in people)
            assert judgement.treatment in ENCRYPTING | {no_rung} | ({T.TLS} if own else set())
        assert judgement.reasons


class TestReasons:
    def test_first_and_second_rules_count_together(self) -> None:
        """Where a rule that detects counts, those that came first still do: they are named, and notify."""
        recipient = facts(rungs=usable(T.TLS, T.OPENPGP))
        rules = ruled(
            always(Demand.TLS, "first", notify=True),
            always(Demand.ENCRYPT, "second", detects=True, tls_protects=False),
        )

        judgement = judged(recipient, rules)

        assert (judgement.treatment, judgement.rules, judgement.notify) == (T.OPENPGP, ("first", "second"), True)

    def test_what_is_not_demanded_is_said(self) -> None:
        """A demand that does not count is told with its reason; a partner row without a demand says nothing."""
        inside = judged(facts(direction=Direction.INTERNAL), demanding(Demand.ENCRYPT))

        assert "rule 'encrypt 0' demands encrypt, which does not count for internal" in inside.reasons
        assert judged(facts(partner=Partner("p"))).reasons == ("nothing demands protection",)

    def test_transit_is_not_marked(self) -> None:
        """What passes through keeps its subject."""
        assert not judged(facts(direction=Direction.TRANSIT), demanding(Demand.ENCRYPT)).mark


class TestPartnerLadder:
    SMIME_FIRST = Ladders(encrypt=(T.SMIME, T.TLS))

    def test_tls_needs_a_policy(self) -> None:
        """A partner row without a TLS policy puts no TLS before the configured ladder."""
        recipient = facts(partner=Partner("p"), rungs=usable(*PROTECTING))

        assert judged(recipient, demanding(Demand.ENCRYPT)).treatment is T.SMIME

    def test_a_policy_comes_first_wherever_tls_stands(self) -> None:
        """The row's TLS is best, even where the configured ladder has TLS further down."""
        recipient = facts(partner=Partner("p", tls="verify"), rungs=usable(*PROTECTING))
        plan = decide(view(), (recipient,), demanding(Demand.ENCRYPT), self.SMIME_FIRST, T.QUARANTINE)

        assert plan.judgements[0].treatment is T.TLS
