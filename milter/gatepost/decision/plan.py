"""
The plan: the decision for a transaction, as a value that can be printed, compared, stored and carried out.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.inbound import Inbound
from gatepost.directory.key import Key
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient


class Answer(StrEnum):
    """What the mail server will be told if all goes well."""

    ACCEPT = "accept"
    DISCARD = "discard"
    TEMPFAIL = "tempfail"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What was decided for one recipient: demand, the rules that made it, treatment, and each step's reason.

    `mark` tells that the subject of a protected copy takes the mark; a partner's standing demand alone leaves
    the subject untouched. `signed` is the technology in which the copy is signed, `smime` or `openpgp`, or empty;
    `floor` the weakest cipher that S/MIME may use, or empty.
    """

    recipient: Recipient
    direction: Direction
    demand: Demand
    rules: tuple[str, ...]
    treatment: Treatment
    reasons: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    nexthop: str = ""
    mark: bool = False
    signed: str = ""
    floor: str = ""
    notify: bool = False  # a rule asked that the sender be told


@dataclass(frozen=True, slots=True)
class Copy:
    """
    One form of the message and the recipients who share it.

    `subject` is the subject as these recipients will read it, decoded. `in_place` tells that the original,
    edited, is this copy. `signed` and `floor` as in a judgement.
    """

    treatment: Treatment
    recipients: tuple[Recipient, ...]
    subject: str
    in_place: bool
    keys: tuple[Key, ...] = ()
    nexthop: str = ""
    mark: bool = False
    signed: str = ""
    floor: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The decision for a transaction: a judgement for each recipient, in order, and the copies that follow.

    `inbound` tells how a message for inside recipients came from outside.
    """

    answer: Answer
    judgements: tuple[Judgement, ...]
    copies: tuple[Copy, ...]
    inbound: Inbound | None = None

    @property
    def is_signed(self) -> bool:
        """Whether any copy is to be signed."""
        return any(copy.signed for copy in self.copies)

    def unsigned(self, why: str) -> "Plan":
        """Give the same plan for a message that turned out not to be one that can be signed."""
        judgements = tuple(
            replace(one, signed="", reasons=(*one.reasons, f"yet not signed: {why}")) if one.signed else one
            for one in self.judgements
        )
        return replace(self, judgements=judgements, copies=tuple(replace(one, signed="") for one in self.copies))
