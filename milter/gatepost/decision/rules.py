"""
Rules as values: a condition, the demand it makes, and what comes with it; all rules of a site in reading order.
"""

from dataclasses import dataclass, field

from gatepost.decision.condition import AllOf, Condition, DirectionIs, SubjectTag
from gatepost.decision.demand import Demand, Treatment
from gatepost.message.subject import MARK, Tags


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule as the admin wrote it.

    `mark`: protected copies bear the mark in their subject. `notify`: the sender is told. `pilot`: shown, but
    without effect. `detects` tells that the condition asks for finds; then `always` makes it count for
    protected copies too. `tls_protects` tells whether TLS is good enough where the rule matches.
    """

    name: str
    condition: Condition
    demand: Demand
    ladder: tuple[Treatment, ...] = ()
    mark: bool = True
    notify: bool = False
    pilot: bool = False
    tls_protects: bool = True
    always: bool = False
    detects: bool = False

    @property
    def comes_second(self) -> bool:
        """Whether the rule judges only what would leave unprotected."""
        return self.detects and not self.always


@dataclass(frozen=True, slots=True)
class RuleSet:
    """
    All rules, files by name, rules by position; `needs_body` tells that one asks for finds.

    `first` and `second` are those that come first and second.
    """

    rules: tuple[Rule, ...] = ()
    tags: Tags = field(default_factory=lambda: Tags.of(()))
    needs_body: bool = False
    first: tuple[Rule, ...] = field(init=False, repr=False, compare=False)
    second: tuple[Rule, ...] = field(init=False, repr=False, compare=False)

    @property
    def encrypting_tag(self) -> str:
        """A subject tag by which any sender has a message encrypted; empty where no rule offers one."""
        rules = (rule for rule in self.first if rule.demand is Demand.ENCRYPT and not rule.pilot)
        offered = {tag for rule in rules for tag in _tags_alone(rule.condition)} - {MARK}
        return next((word for word in self.tags.words if word in offered), "")

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", tuple(rule for rule in self.rules if not rule.comes_second))
        object.__setattr__(self, "second", tuple(rule for rule in self.rules if rule.comes_second))


def _tags_alone(condition: Condition) -> frozenset[str]:
    """Give the tags of a condition that asks for nothing else but where the message goes."""
    match condition:
        case SubjectTag(tags):
            return tags
        case AllOf(conditions) if all(isinstance(one, SubjectTag | DirectionIs) for one in conditions):
            return frozenset(tag for one in conditions if isinstance(one, SubjectTag) for tag in one.tags)
    return frozenset()
