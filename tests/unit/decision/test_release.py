"""The second decision about a held message: encrypted, refused, or still held; never weaker."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gatepost.decision.condition import Everything
from gatepost.decision.demand import ENCRYPTING, Demand, Treatment
from gatepost.decision.engine import decide
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.decision.ladder import Ladders
from gatepost.decision.plan import Judgement
from gatepost.decision.release import for_release
from gatepost.decision.rules import Rule, RuleSet
from gatepost.decision.view import View
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.subject import Tags
from gatepost.message.transaction import Client, Recipient, Transaction

BOB = Recipient(parse(b"<bob@x.test>"))
MESSAGE = Transaction(Client(), parse(b"<a@hosp.test>"), (), (BOB,), (), MemoryBody(b""))


def judged(
    demands: Sequence[Demand], usable: Sequence[Treatment] = (), direction: Direction = Direction.OUT
) -> Judgement:
    rules = RuleSet(tuple(Rule(f"r{n}", Everything(), demand) for n, demand in enumerate(demands)))
    facts = RecipientFacts(BOB, direction, rungs={one: Rung(True, "usable") for one in usable})
    view = View.of(MESSAGE, Tags.of(()), outside=1, complete=True)
    plan = decide(view, [facts], for_release(rules), Ladders(), Treatment.QUARANTINE)
    return plan.judgements[0]


def test_quarantine_becomes_encrypt() -> None:
    """What a rule held goes encrypted, and the reasons name the release."""
    judgement = judged([Demand.QUARANTINE], [Treatment.OPENPGP])
    assert (judgement.demand, judgement.treatment) == (Demand.ENCRYPT, Treatment.OPENPGP)
    assert "rule 'released from quarantine' demands encrypt" in judgement.reasons


def test_nothing_usable_stays_held() -> None:
    """Without a usable rung the recipient stays held, even where the message needs no protection today."""
    assert judged([]).treatment is Treatment.QUARANTINE


def test_reject_stays() -> None:
    """A rule that refuses is not lifted."""
    assert judged([Demand.REJECT, Demand.QUARANTINE], [Treatment.OPENPGP]).treatment is Treatment.REJECT


def test_internal_recipients_get_it() -> None:
    """Inside, only quarantine and reject count: a released copy passes."""
    assert judged([Demand.QUARANTINE], direction=Direction.INTERNAL).treatment is Treatment.PASS


@given(st.lists(st.sampled_from(Demand), max_size=5), st.sets(st.sampled_from(Treatment)))
def test_never_weaker_than_encrypt(demands: list[Demand], usable: set[Treatment]) -> None:
    """Whatever the rules and rungs, a released copy leaves encrypted or not at all."""
    treatment = judged(demands, sorted(usable)).treatment
    assert treatment in ENCRYPTING | {Treatment.QUARANTINE, Treatment.REJECT}


def test_a_release_adds_no_mark() -> None:
    """A released copy is marked only if a rule or its conversation asks for that."""
    assert not judged([], [Treatment.OPENPGP]).mark
