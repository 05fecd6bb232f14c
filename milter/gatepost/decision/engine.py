"""
The decision: what is demanded for each recipient, how it is met, and the plan that follows.

Pure: no I/O, no clock; the same values give the same plan, and every step leaves its reason in plain words.

- The strictest of all demands wins; their order means nothing. For internal and incoming recipients only
  quarantine and reject count; in transit nothing is demanded.
- Mail from a partner that came otherwise than its row asks is flagged, held, or put off as a whole.
- Rules that detect come second: they judge what would leave unprotected.
- What is not known counts as if it held: an unknown never lowers protection. Where no rung is usable and nobody
  knows of one whether it is, the whole message is put off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatepost.decision.copies import shared
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.facts import RecipientFacts
from gatepost.decision.inbound import Inbound
from gatepost.decision.ladder import Ladders, Step, choose, climb
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.decision.rules import Rule, RuleSet
from gatepost.decision.view import View
from gatepost.directory.key import Key
from gatepost.message.direction import Direction

_LEAST = {  # the least demand that counts in a direction
    Direction.OUT: Demand.TLS,
    Direction.INTERNAL: Demand.QUARANTINE,
    Direction.IN: Demand.QUARANTINE,
}

_NOTHING_ASKED = Inbound()


@dataclass(frozen=True, slots=True)
class Demanded:
    """What is demanded for one recipient: by which rules, why, and what else these rules say."""

    demand: Demand
    rules: tuple[Rule, ...]
    reasons: tuple[str, ...]
    mark: bool

    @property
    def ladder(self) -> tuple[Treatment, ...]:
        """The ladder of the first matching rule at this demand that names one; else empty."""
        return next((rule.ladder for rule in self.rules if rule.demand is self.demand and rule.ladder), ())


@dataclass(frozen=True, slots=True)
class _Outcome:
    treatment: Treatment
    reasons: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    nexthop: str = ""


def may_demand(view: View, facts: RecipientFacts, rules: RuleSet) -> bool:
    """
    Tell whether the recipient's demand is, or may become once size and finds are known, above none.

    Used before the body is there: a False means that neither look-ups nor the body are needed.
    """
    if _inbound(view, facts).unmet:
        return True
    least = _LEAST.get(facts.direction)
    if least is None:
        return False
    if facts.direction is Direction.OUT and _standing(view, facts)[0] is not Demand.NONE:
        return True
    return any(
        rule.demand >= least and not rule.pilot and rule.condition.holds(view, facts) is not False
        for rule in rules.rules
    )


def reachable(view: View, facts: RecipientFacts, rules: RuleSet, ladders: Ladders) -> frozenset[str]:
    """
    Give the treatments of all ladders that may meet what may be demanded for the recipient; `tls` only if it may.

    Used before the body is there: nobody need be asked about the next hop, or for keys, for any other.
    """
    if facts.direction is not Direction.OUT:
        return frozenset()
    demands = {_standing(view, facts)[0]}
    found: set[str] = set()
    refused: set[str] = set()
    for rule in rules.rules:
        holds = None if rule.pilot else rule.condition.holds(view, facts)
        if rule.pilot or holds is False:
            continue
        if holds and not rule.comes_second and (rule.demand > Demand.ENCRYPT or not rule.tls_protects):
            refused.add(Treatment.TLS)
        demands.add(rule.demand)
        found.update(rule.ladder)
    for demand in demands & {Demand.TLS, Demand.ENCRYPT}:
        found.update(choose((), demand, facts, ladders))
    return frozenset(found - refused)


def demand_of(view: View, facts: RecipientFacts, rules: RuleSet) -> Demanded:
    """Tell what is demanded for one recipient without the rules that come second."""
    return _demanded(view, facts, rules.first)


def decide(
    view: View, facts: Sequence[RecipientFacts], rules: RuleSet, ladders: Ladders, no_rung: Treatment
) -> Plan:
    """
    Decide for a whole message; `facts` in the order of its recipients, `no_rung` quarantine or reject.

    Raises ValueError for a message without recipients: there is nothing to decide, and nothing must be done.
    """
    if not facts:
        raise ValueError("a message without recipients cannot be decided")
    judgements = tuple([_judge(view, each, rules, ladders, no_rung) for each in facts])
    if any(judgement.treatment is Treatment.REJECT for judgement in judgements):
        return Plan(Answer.REJECT, judgements, (), view.inbound)
    if any(judgement.treatment is Treatment.TEMPFAIL for judgement in judgements):
        return Plan(Answer.TEMPFAIL, judgements, (), view.inbound)
    copies = shared(view, judgements, rules.tags)
    stays = any(copy.in_place for copy in copies)
    return Plan(Answer.ACCEPT if stays else Answer.DISCARD, judgements, copies, view.inbound)


def _judge(view: View, facts: RecipientFacts, rules: RuleSet, ladders: Ladders, no_rung: Treatment) -> Judgement:
    demanded = demand_of(view, facts, rules)
    outcome = _treated(demanded, view, facts, ladders, no_rung)
    second = [rule for rule in rules.second if _judges(rule, outcome.treatment)]
    if second:
        counted = [rule for rule in rules.rules if not rule.comes_second or rule in second]
        demanded = _demanded(view, facts, counted)
        outcome = _treated(demanded, view, facts, ladders, no_rung)
    signed = view.signing.signed(outcome.treatment, facts)
    if signed.missing:
        outcome = _Outcome(no_rung, outcome.reasons)
    return Judgement(
        recipient=facts.recipient,
        direction=facts.direction,
        demand=demanded.demand,
        rules=tuple([rule.name for rule in demanded.rules]),
        treatment=outcome.treatment,
        reasons=_followed(facts) + demanded.reasons + outcome.reasons + signed.reasons,
        keys=outcome.keys,
        nexthop=outcome.nexthop,
        mark=demanded.mark,
        signed=signed.kind,
        floor=facts.partner.cipher_floor if facts.partner is not None else "",
        notify=any(rule.notify for rule in demanded.rules),
    )


def _followed(facts: RecipientFacts) -> tuple[str, ...]:
    recipient = facts.recipient
    if recipient.tied:
        return (f"aliases of {recipient.address} lead outside, or nobody knows where, and cannot be parted",)
    return (f"the alias {recipient.alias} leads here",) if recipient.alias is not None else ()


def _judges(rule: Rule, treatment: Treatment) -> bool:
    """Tell whether a rule that comes second counts for a recipient who would be treated so without it."""
    return treatment is Treatment.PASS or (treatment is Treatment.TLS and not rule.tls_protects)


def _demanded(view: View, facts: RecipientFacts, rules: Iterable[Rule]) -> Demanded:
    inbound = _inbound(view, facts)
    demand = Demand.QUARANTINE if inbound.action == "quarantine" else Demand.NONE
    least = _LEAST.get(facts.direction)
    if least is None:
        told = inbound.reasons or ("transit: nothing is demanded",)
        return Demanded(demand, (), told, mark=False)
    reasons = [*inbound.reasons]
    matching: list[Rule] = []
    for rule in rules:
        if rule.condition.holds(view, facts) is False:
            continue
        word = rule.demand.word
        if rule.pilot:
            reasons.append(f"pilot: rule {rule.name!r} would demand {word}")
        elif rule.demand < least and rule.demand is not Demand.NONE:
            reasons.append(f"rule {rule.name!r} demands {word}, which does not count for {facts.direction}")
        else:
            reasons.append(f"rule {rule.name!r} demands {word}")
            matching.append(rule)
            demand = max(demand, rule.demand)
    mark = any(rule.mark and rule.demand is not Demand.NONE for rule in matching)
    if facts.direction is Direction.OUT:
        standing, why = _standing(view, facts)
        reasons += why
        demand = max(demand, standing)
        mark = mark or facts.thread
    if demand is Demand.NONE:
        reasons.append("nothing demands protection")
    return Demanded(demand, tuple(matching), tuple(reasons), mark)


def _standing(view: View, facts: RecipientFacts) -> tuple[Demand, list[str]]:
    """Tell what is demanded for an outside recipient whatever the rules say, and why."""
    demand = Demand.NONE if facts.partner is None else Demand.of(facts.partner.demand)
    reasons = []
    if demand is not Demand.NONE and facts.partner is not None:
        reasons.append(f"partner {facts.partner.pattern} demands {demand.word}")
    if facts.thread:
        reasons.append("the conversation was protected: demands encrypt")
        demand = max(demand, Demand.ENCRYPT)
    if view.requiretls:
        reasons.append("the sender asked for REQUIRETLS: demands tls")
        demand = max(demand, Demand.TLS)
    return demand, reasons


def _inbound(view: View, facts: RecipientFacts) -> Inbound:
    """Give what is asked of mail that comes in; also where insiders stand behind aliases that cannot be parted."""
    concerned = facts.direction is Direction.IN or (facts.direction is Direction.TRANSIT and facts.recipient.tied)
    return view.inbound if view.inbound is not None and concerned else _NOTHING_ASKED


def _treated(
    demanded: Demanded, view: View, facts: RecipientFacts, ladders: Ladders, no_rung: Treatment
) -> _Outcome:
    demand = demanded.demand
    if demand is not Demand.REJECT and _inbound(view, facts).action == "tempfail":
        return _Outcome(Treatment.TEMPFAIL, ("the message is put off",))
    if demand is Demand.NONE:
        return _Outcome(Treatment.PASS, ())
    if demand is Demand.QUARANTINE:
        return _Outcome(Treatment.QUARANTINE, ("quarantine: held until it is released",))
    if demand is Demand.REJECT:
        return _Outcome(Treatment.REJECT, ("reject: the whole message is refused",))
    if view.encrypted:
        return _Outcome(Treatment.PASS, ("already encrypted",))
    doubting = next((rule for rule in demanded.rules if not rule.tls_protects), None)
    step = climb(
        choose(demanded.ladder, demand, facts, ladders),
        facts,
        refused=Treatment.TLS if doubting else None,
        why=f"rule {doubting.name!r} says that TLS does not protect it" if doubting else "",
    )
    return _taken(step, no_rung)


def _taken(step: Step, no_rung: Treatment) -> _Outcome:
    if step.treatment is not None and step.rung is not None:
        return _Outcome(step.treatment, step.reasons, step.rung.keys, step.rung.nexthop)
    if step.unknown:
        why = f"no rung is usable now, and {' or '.join(step.unknown)} may be later: the message is put off"
        return _Outcome(Treatment.TEMPFAIL, (*step.reasons, why))
    return _Outcome(no_rung, (*step.reasons, f"no rung is usable: {no_rung}"))
