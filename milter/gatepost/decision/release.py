"""
The rules under which a held message is decided a second time: no longer held, but encrypted.
"""

from dataclasses import replace

from gatepost.decision.condition import Everything
from gatepost.decision.demand import Demand
from gatepost.decision.rules import Rule, RuleSet

_RELEASED = Rule(name="released from quarantine", condition=Everything(), demand=Demand.ENCRYPT, mark=False)


def for_release(rules: RuleSet) -> RuleSet:
    """Give the rules with `encrypt` in the place of `quarantine`, and at least `encrypt` for all that goes out."""
    return replace(rules, rules=(*map(_encrypting, rules.rules), _RELEASED))


def _encrypting(rule: Rule) -> Rule:
    return replace(rule, demand=Demand.ENCRYPT, ladder=()) if rule.demand is Demand.QUARANTINE else rule
