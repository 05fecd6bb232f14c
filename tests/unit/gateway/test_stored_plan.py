"""A plan as text: read back whole, or refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.errors import StorageError
from gatepost.gateway.resume import copy_of
from gatepost.gateway.stored_plan import from_text, to_text
from gatepost.message.address import parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient

JUDGEMENTS = tuple(
    Judgement(Recipient(parse(to)), Direction.OUT, Demand.TLS, (), Treatment.TLS, ())
    for to in (b"<a@x.test>", b"<b@x.test>")
)
PLAN = Plan(Answer.DISCARD, JUDGEMENTS, (copy_of(JUDGEMENTS, in_place=False),))


def test_a_plan_comes_back() -> None:
    """What was written is read."""
    assert from_text(to_text(PLAN)) == PLAN


def test_how_a_copy_is_signed_comes_back() -> None:
    """Signing and the weakest cipher are stored; a plan of before they were is one without them."""
    signed = replace(JUDGEMENTS[0], treatment=Treatment.SMIME, signed="smime", floor="aes256-gcm")
    plan = Plan(Answer.DISCARD, (signed,), (copy_of((signed,), in_place=False),))
    text = to_text(plan)
    assert from_text(text) == plan
    assert plan.copies[0].signed == "smime"

    older = json.loads(text)
    for name in ("signed", "floor"):
        del older["judgements"][0][name]
    assert from_text(json.dumps(older)).judgements == (replace(signed, signed="", floor=""),)


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.update(format=2),
        lambda plan: plan["judgements"].pop(),
        lambda plan: plan["recipients"].pop(),
        lambda plan: plan.update(judgements=plan["judgements"][:1], copies=[]),
        lambda plan: plan["copies"][0]["recipients"].append(2),
        lambda plan: plan["judgements"][0].update(treatment="none"),
        lambda plan: plan["judgements"][0].pop("demand"),
        lambda plan: plan.update(answer="maybe"),
    ],
)
def test_a_damaged_plan_is_refused(damage: Callable[[Any], None]) -> None:
    """Another format, a judgement too few, an unknown word: nobody is forgotten, and nothing is guessed."""
    plan = json.loads(to_text(PLAN))
    damage(plan)

    with pytest.raises(StorageError, match="stored plan"):
        from_text(json.dumps(plan))


def test_no_json_is_refused() -> None:
    """A text that is cut off is no plan."""
    with pytest.raises(StorageError, match="cannot be read"):
        from_text(to_text(PLAN)[:-1])
