"""
Examples beside the rules: a message, and what must be decided for it.

`[[example]]` in a rules file gives parts of a message and what is expected; all rules of the directory decide.
The recipient of an example could take every treatment, so the treatment shows the best rung of the ladder.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gatepost.decision.demand import PROTECTING, Demand, Treatment
from gatepost.decision.engine import decide
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.decision.ladder import Ladders
from gatepost.decision.reader import rule_files
from gatepost.decision.rules import RuleSet
from gatepost.decision.view import View
from gatepost.directory.partner import Partner
from gatepost.errors import AddressError, ConfigError
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

_EXPECTED = ("demand", "treatment", "rules", "subject_sent")
_TYPES: Mapping[str, type] = {
    "name": str,
    "direction": str,
    "sender": str,
    "recipient": str,
    "subject": str,
    "header": dict,
    "authenticated": bool,
    "size": int,
    "recipients": int,
    "finds": dict,
    "thread": bool,
    "encrypted": bool,
    "partner_demand": str,
    "demand": str,
    "treatment": str,
    "rules": list,
    "subject_sent": str,
}
_RUNGS = {treatment: Rung(usable=True, reason="as the example has it") for treatment in PROTECTING}


@dataclass(frozen=True, slots=True)
class Example:
    """One example: where it stands, the message, what else is known, and what is expected."""

    file: str
    name: str
    facts: RecipientFacts
    transaction: Transaction
    changes: Mapping[str, Any]  # of the view: what a short message cannot show
    outside: int
    expected: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was expected of an example, and what was decided; the same keys in both."""

    example: Example
    actual: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether everything came as expected."""
        return dict(self.example.expected) == dict(self.actual)


def read_examples(directory: Path) -> tuple[Example, ...]:
    """Read the examples of every file, which `read_rules` has taken; raises ConfigError with every fault."""
    examples: list[Example] = []
    faults: list[str] = []
    for path in rule_files(directory):
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("example", [])
        for position, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
            place = f"{path}: example {position}"
            if wrong := _faults(entry):
                faults += [f"{place}: {text}" for text in wrong]
                continue
            try:
                examples.append(_example(path.name, f"example {position}", entry))
            except (ValueError, AddressError) as error:
                faults.append(f"{place}: {error}")
    if faults:
        raise ConfigError(*faults)
    return tuple(examples)


def _faults(entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return ["write [[example]], with two brackets"]
    faults = [f"unknown key {key!r}; allowed: {', '.join(_TYPES)}" for key in sorted(entry.keys() - _TYPES.keys())]
    faults += [
        f"{key} is of the wrong type"
        for key, kind in _TYPES.items()
        if key in entry and type(entry[key]) is not kind
    ]
    if "demand" not in entry:
        faults.append("needs the demand that is expected")
    return faults


def _example(file: str, place: str, entry: Mapping[str, Any]) -> Example:
    """Build one example; raises ValueError and AddressError for words that mean nothing."""
    direction = Direction(entry.get("direction", "out"))
    _demand(entry["demand"])
    Treatment(entry.get("treatment", Treatment.PASS))
    recipient = Recipient(address.parse(entry.get("recipient", "someone@partner.example").encode()))
    standing = entry.get("partner_demand")
    facts = RecipientFacts(
        recipient=recipient,
        direction=direction,
        partner=Partner(recipient.address.domain, demand=_demand(standing)) if standing else None,
        thread=entry.get("thread", False),
        rungs=_RUNGS,
    )
    return Example(
        file=file,
        name=entry.get("name", place),
        facts=facts,
        transaction=_transaction(entry, recipient),
        changes={key: entry[key] for key in ("size", "finds", "encrypted") if key in entry},
        outside=entry.get("recipients", 1 if direction is Direction.OUT else 0),
        expected={key: entry[key] for key in _EXPECTED if key in entry},
    )


def _demand(word: str) -> str:
    try:
        return Demand.of(word).word
    except KeyError:
        raise ValueError(f"no demand {word!r}; there are: {', '.join(demand.word for demand in Demand)}") from None


def _transaction(entry: Mapping[str, Any], recipient: Recipient) -> Transaction:
    fields = [Field(b"Subject", f" {entry['subject']}".encode())] if "subject" in entry else []
    fields += [Field(name.encode(), f" {value}".encode()) for name, value in entry.get("header", {}).items()]
    return Transaction(
        client=Client(authenticated="someone" if entry.get("authenticated", False) else ""),
        sender=address.parse(entry.get("sender", "someone@inside.example").encode()),
        parameters=(),
        recipients=(recipient,),
        fields=tuple(fields),
        body=MemoryBody(b"An example.\r\n"),
    )


def run(example: Example, rules: RuleSet) -> Outcome:
    """Decide for the example by these rules and the default ladders."""
    view = View.of(example.transaction, rules.tags, outside=example.outside, finds={})
    view = replace(view, **example.changes)
    plan = decide(view, (example.facts,), rules, Ladders(), Treatment.QUARANTINE)
    judgement = plan.judgements[0]
    actual = {
        "demand": judgement.demand.word,
        "treatment": str(judgement.treatment),
        "rules": list(judgement.rules),
        "subject_sent": plan.copies[0].subject if plan.copies else "",
    }
    return Outcome(example, {key: actual[key] for key in example.expected})
