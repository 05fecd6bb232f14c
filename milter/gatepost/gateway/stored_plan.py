"""
A plan as text, and read back.

The text is one JSON object in ASCII. Keys are kept by fingerprint and owner, without certificate; a copy by the
places of its recipients, without its subject.
"""

import json
from typing import Any

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Copy, Judgement, Plan
from gatepost.directory.key import Key, Trust
from gatepost.errors import AddressError, StorageError
from gatepost.gateway.resume import copy_of
from gatepost.message.direction import Direction
from gatepost.vault.packed import recipients_from_json, recipients_to_json

_FORMAT = 1


def to_text(plan: Plan) -> str:
    """Write a plan."""
    places = {one.recipient: place for place, one in enumerate(plan.judgements)}
    return json.dumps(
        {
            "format": _FORMAT,
            "answer": plan.answer,
            "recipients": recipients_to_json(one.recipient for one in plan.judgements),
            "judgements": [_judgement_to_json(one) for one in plan.judgements],
            "copies": [
                {"recipients": [places[one] for one in copy.recipients], "in_place": copy.in_place}
                for copy in plan.copies
            ],
        }
    )


def from_text(text: str) -> Plan:
    """Read what `to_text` wrote; raises StorageError for anything else."""
    try:
        values: dict[str, Any] = json.loads(text)
        if values["format"] != _FORMAT:
            raise StorageError(f"the stored plan has the unknown format {values['format']!r}")
        recipients = recipients_from_json(values["recipients"])
        judgements = tuple(
            Judgement(recipient=recipient, **_judgement_from_json(one))
            for recipient, one in zip(recipients, values["judgements"], strict=True)
        )
        return Plan(
            Answer(values["answer"]), judgements, tuple(_copy(one, judgements) for one in values["copies"])
        )
    except (ValueError, KeyError, TypeError, IndexError, AddressError) as error:
        raise StorageError(f"a stored plan cannot be read: {type(error).__name__}") from error


def _judgement_to_json(one: Judgement) -> dict[str, object]:
    return {
        "direction": one.direction,
        "demand": one.demand.word,
        "rules": one.rules,
        "treatment": one.treatment,
        "reasons": one.reasons,
        "keys": [[key.fingerprint, key.kind, key.owner, key.trust.name] for key in one.keys],
        "nexthop": one.nexthop,
        "mark": one.mark,
        "signed": one.signed,
        "floor": one.floor,
        "notify": one.notify,
    }


def _judgement_from_json(values: dict[str, Any]) -> dict[str, Any]:
    keys = (Key(fingerprint, kind, owner, b"", Trust[trust]) for fingerprint, kind, owner, trust in values["keys"])
    return values | {
        "direction": Direction(values["direction"]),
        "demand": Demand.of(values["demand"]),
        "rules": tuple(values["rules"]),
        "treatment": Treatment(values["treatment"]),
        "reasons": tuple(values["reasons"]),
        "keys": tuple(keys),
    }


def _copy(values: dict[str, Any], judgements: tuple[Judgement, ...]) -> Copy:
    return copy_of([judgements[place] for place in values["recipients"]], in_place=values["in_place"])
