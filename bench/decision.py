"""
How long the decision takes, with the rules that are shipped, for one recipient and for two hundred.

Run by `python -m bench.decision`. Half of the recipients have a partner row that demands encryption, and a key.
"""

import time
from pathlib import Path
from statistics import median

from bench.mail import INSIDE
from gatepost.decision.demand import Treatment
from gatepost.decision.engine import decide
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.decision.ladder import Ladders
from gatepost.decision.reader import read_rules
from gatepost.decision.view import View
from gatepost.directory.partner import Partner
from gatepost.message.address import parse
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.transaction import Recipient

_RULES = Path(__file__).parent.parent / "rules"
_ROUNDS = 5
_SECONDS = 0.5


def main() -> None:
    """Decide again and again, and print the median."""
    for recipients in (1, 200):
        print(f"decide, {recipients} recipients: {_microseconds(recipients):.0f} us a message")  # noqa: T201


def _microseconds(recipients: int) -> float:
    rules = read_rules(_RULES, frozenset())
    facts = [_facts(number) for number in range(recipients)]
    subject = Field(b"Subject", b" Results")
    took = []
    for _ in range(_ROUNDS):
        count, start = 0, time.process_time()
        while time.process_time() - start < _SECONDS:
            view = View(f"ann@{INSIDE}", subjects=("Results",), fields=(subject,), outside=recipients)
            decide(view, facts, rules, Ladders(), Treatment.QUARANTINE)
            count += 1
        took.append((time.process_time() - start) / count)
    return median(took) * 1e6


def _facts(number: int) -> RecipientFacts:
    recipient = Recipient(parse(f"user@clinic{number}.test".encode()))
    if number % 2:
        return RecipientFacts(recipient, Direction.OUT)
    partner = Partner(f"clinic{number}.test", demand="encrypt", ladder=("openpgp",))
    return RecipientFacts(
        recipient, Direction.OUT, partner, rungs={Treatment.OPENPGP: Rung(usable=True, reason="")}
    )


if __name__ == "__main__":
    main()
