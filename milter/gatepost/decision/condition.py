"""
Conditions: the words of a rule's `when`.

Each answers for one recipient of one message: True, False, or None where only the whole message can tell
(Kleene's three values). Whoever must act on None takes it for True: an unknown never lowers protection.
"""

from dataclasses import dataclass
from typing import Protocol

from gatepost.decision.facts import RecipientFacts
from gatepost.decision.pattern import Expression, Glob
from gatepost.decision.view import View
from gatepost.message.direction import Direction

Answer = bool | None


class Condition(Protocol):
    """Something a rule asks; frozen, pure, and quick."""

    def holds(self, view: View, facts: RecipientFacts) -> Answer:
        """Tell whether it is so; None: not known yet."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Holds for every message and recipient."""

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - nothing to look at
        """Tell that it is so."""
        return True


@dataclass(frozen=True, slots=True)
class DirectionIs:
    """The recipient's direction is one of these."""

    directions: frozenset[Direction]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the facts tell
        """Compare the direction."""
        return facts.direction in self.directions


@dataclass(frozen=True, slots=True)
class SenderIs:
    """The envelope sender matches one of these globs."""

    globs: tuple[Glob, ...]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Compare the sender."""
        return any(glob.matches(view.sender) for glob in self.globs)


@dataclass(frozen=True, slots=True)
class RecipientIs:
    """The recipient's address matches one of these globs."""

    globs: tuple[Glob, ...]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the facts tell
        """Compare the address."""
        address = str(facts.recipient.address).lower()
        return any(glob.matches(address) for glob in self.globs)


@dataclass(frozen=True, slots=True)
class SubjectTag:
    """A Subject holds one of these tags."""

    tags: frozenset[str]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Compare with the tags that were found."""
        return not self.tags.isdisjoint(view.tags)


@dataclass(frozen=True, slots=True)
class SubjectMatches:
    """A decoded Subject holds a match of one of these expressions."""

    expressions: tuple[Expression, ...]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Search every Subject."""
        return any(expression.found_in(text) for text in view.subjects for expression in self.expressions)


@dataclass(frozen=True, slots=True)
class HeaderMatches:
    """A field of this name (lower case) holds a match of one of these expressions in its decoded value."""

    name: bytes
    expressions: tuple[Expression, ...]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Search every such field."""
        values = view.header(self.name)
        return any(expression.found_in(text) for text in values for expression in self.expressions)


@dataclass(frozen=True, slots=True)
class SizeOver:
    """The message, header and body, is larger than this many octets."""

    octets: int

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Compare the size, once it is known."""
        return None if view.size is None else view.size > self.octets


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client logged in, or did not."""

    expected: bool

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Compare."""
        return view.authenticated is self.expected


@dataclass(frozen=True, slots=True)
class RecipientsOver:
    """The message has more outside recipients than this."""

    count: int

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Compare the number."""
        return view.outside > self.count


@dataclass(frozen=True, slots=True)
class Detect:
    """These detectors together have at least so many finds."""

    detectors: frozenset[str]
    at_least: int

    def holds(self, view: View, facts: RecipientFacts) -> Answer:  # noqa: ARG002 - the view tells
        """Add the finds up, once they are known."""
        if view.finds is None:
            return None
        return sum(view.finds.get(detector, 0) for detector in self.detectors) >= self.at_least


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of these holds."""

    conditions: tuple[Condition, ...]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:
        """One False decides; else one unknown does."""
        answer: Answer = True
        for condition in self.conditions:
            held = condition.holds(view, facts)
            if held is False:
                return False
            answer = answer and held
        return answer


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these holds."""

    conditions: tuple[Condition, ...]

    def holds(self, view: View, facts: RecipientFacts) -> Answer:
        """One True decides; else one unknown does."""
        answer: Answer = False
        for condition in self.conditions:
            held = condition.holds(view, facts)
            if held:
                return True
            if held is None:
                answer = None
        return answer


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: Condition

    def holds(self, view: View, facts: RecipientFacts) -> Answer:
        """Turn the answer round; unknown stays unknown."""
        held = self.condition.holds(view, facts)
        return None if held is None else not held
