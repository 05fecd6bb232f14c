"""What is left of a stored plan: as it was decided, where that is still possible; never weaker, never refused."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.facts import Rung
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.directory.key import Key, Trust
from gatepost.gateway.entry import Entry, Progress, State
from gatepost.gateway.resume import copy_of, rest_of
from gatepost.message.address import parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient

DOC, BOB, EVE = (Recipient(parse(f"<{one}>".encode())) for one in ("doc@hosp.test", "bob@p.test", "eve@p.test"))
KEY = Key("FPR", "openpgp", "p.test", b"certificate", Trust.ADMIN)
STUB = replace(KEY, certificate=b"")
PASSED = Judgement(DOC, Direction.INTERNAL, Demand.NONE, (), Treatment.PASS, ("nothing",))
ENCRYPTED = Judgement(BOB, Direction.OUT, Demand.ENCRYPT, ("r",), Treatment.OPENPGP, ("why",), keys=(STUB,))
ROUTED = replace(ENCRYPTED, demand=Demand.TLS, treatment=Treatment.TLS, keys=(), nexthop="[mx]:25")


def entry(*judgements: Judgement, progress: tuple[Progress, ...] = ()) -> Entry:
    copies = tuple(copy_of([one], in_place=place == 0) for place, one in enumerate(judgements))
    plan = Plan(Answer.ACCEPT, judgements, copies)
    return Entry(bytes(32), UUID(int=1), "4QID", plan, progress or (Progress(),) * len(judgements))


def today(*judgements: Judgement) -> Plan:
    return Plan(Answer.ACCEPT, judgements, ())


def rungs(
    *, keys: tuple[Key, ...] = (KEY,), nexthop: str = "[mx]:25", usable: bool = True
) -> Mapping[Treatment, Rung]:
    return {
        Treatment.OPENPGP: Rung(usable, "", keys=keys),
        Treatment.TLS: Rung(usable, "", nexthop=nexthop),
    }


def rest(stored: Entry, anew: Plan, can: Mapping[Treatment, Rung] | None = None) -> Plan:
    return rest_of(stored, anew, lambda _recipient, treatment: (rungs() if can is None else can).get(treatment))


def treatments(plan: Plan) -> dict[Recipient, Treatment]:
    return {recipient: copy.treatment for copy in plan.copies for recipient in copy.recipients}


def test_today_does_not_change_what_was_decided() -> None:
    """Who was passed is passed, who was encrypted to is, with today's certificate of the same key."""
    stricter = replace(PASSED, demand=Demand.QUARANTINE, treatment=Treatment.QUARANTINE)
    laxer = replace(ENCRYPTED, demand=Demand.NONE, treatment=Treatment.PASS, keys=())

    plan = rest(entry(PASSED, ENCRYPTED), today(stricter, laxer))

    assert treatments(plan) == {DOC: Treatment.PASS, BOB: Treatment.OPENPGP}
    assert plan.copies[1].keys == (KEY,)
    assert [copy.in_place for copy in plan.copies] == [True, False]


@pytest.mark.parametrize("state", [State.SUBMITTED, State.HELD])
def test_what_is_done_is_in_no_copy(state: State) -> None:
    """A copy that went, or is held, is not built again; its judgement stays for the record."""
    plan = rest(entry(PASSED, ENCRYPTED, progress=(Progress(), Progress(state))), today(PASSED, ENCRYPTED))

    assert treatments(plan) == {DOC: Treatment.PASS}
    assert {one.recipient for one in plan.judgements} == {DOC, BOB}


@pytest.mark.parametrize(
    ("before", "can"),
    [
        (ENCRYPTED, rungs(keys=())),
        (ENCRYPTED, rungs(usable=False)),
        (ENCRYPTED, {}),
        (ROUTED, rungs(nexthop="[other]:25")),
        (replace(ENCRYPTED, direction=Direction.INTERNAL), rungs()),
    ],
    ids=["key gone", "not usable", "not configured", "other next hop", "now outside"],
)
def test_what_is_not_possible_any_more_is_held_rather_than_weakened(
    before: Judgement, can: Mapping[Treatment, Rung]
) -> None:
    """Today's decision counts only if it demands no less and protects."""
    now = replace(
        before, direction=Direction.OUT, demand=Demand.NONE, treatment=Treatment.PASS, keys=(), nexthop=""
    )

    plan = rest(entry(PASSED, before), today(PASSED, now), can)

    assert treatments(plan) == {DOC: Treatment.PASS, BOB: Treatment.QUARANTINE}


def test_another_protection_of_the_same_strength_is_taken() -> None:
    """The key is gone, another treatment meets the same demand: it goes so."""
    now = replace(ENCRYPTED, treatment=Treatment.SECUREDOC, keys=())

    plan = rest(entry(PASSED, ENCRYPTED), today(PASSED, now), rungs(keys=()))

    assert treatments(plan) == {DOC: Treatment.PASS, BOB: Treatment.SECUREDOC}


def test_nothing_is_refused_any_more() -> None:
    """Part of the message may have gone: whom today's rules refuse, the copy is held for."""
    now = replace(ENCRYPTED, demand=Demand.REJECT, treatment=Treatment.REJECT, keys=())

    plan = rest(entry(PASSED, ENCRYPTED), today(PASSED, now), rungs(keys=()))

    assert treatments(plan) == {DOC: Treatment.PASS, BOB: Treatment.QUARANTINE}
    assert plan.answer is Answer.ACCEPT


def test_an_alias_that_leads_outside_by_now() -> None:
    """Who was inside and is an alias to the outside today gives way to those whom it leads to today."""
    outside = replace(ENCRYPTED, recipient=replace(EVE, alias=DOC.address), keys=(KEY,))

    plan = rest(entry(PASSED, ENCRYPTED), today(outside, ENCRYPTED))

    assert treatments(plan) == {BOB: Treatment.OPENPGP, outside.recipient: Treatment.OPENPGP}
    assert plan.answer is Answer.DISCARD


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (PASSED, replace(PASSED, direction=Direction.OUT), Treatment.PASS),
        (ENCRYPTED, replace(ENCRYPTED, treatment=Treatment.PASS, keys=()), Treatment.QUARANTINE),
        (ENCRYPTED, replace(ROUTED, demand=Demand.TLS), Treatment.QUARANTINE),
        (ENCRYPTED, replace(ROUTED, demand=Demand.ENCRYPT), Treatment.TLS),
    ],
    ids=["passed before and now", "passed now", "demands less", "protected as strongly"],
)
def test_never_weaker(before: Judgement, now: Judgement, expected: Treatment) -> None:
    """Decided again, a copy goes only if it is protected, and no less is demanded; what passed may pass."""
    plan = rest(entry(before), today(now), {})

    assert [copy.treatment for copy in plan.copies] == [expected]


def test_what_was_to_go_by_tls_goes_though_nobody_knows_today() -> None:
    """The transport asks again at delivery: an earlier decision needs no second answer."""
    silent = {Treatment.TLS: Rung(False, "silent", nexthop="[mx]:25", unknown=True)}
    waiting = replace(ROUTED, treatment=Treatment.TEMPFAIL, nexthop="")

    plan = rest(entry(PASSED, ROUTED), today(PASSED, waiting), silent)

    assert (plan.answer, treatments(plan)[BOB]) == (Answer.ACCEPT, Treatment.TLS)


def test_what_cannot_be_decided_now_is_put_off_once_more() -> None:
    """A key has gone, and whether TLS is assured is not known: nothing more is done until it is."""
    waiting = replace(ENCRYPTED, treatment=Treatment.TEMPFAIL, keys=())

    plan = rest(entry(PASSED, ENCRYPTED), today(PASSED, waiting), rungs(keys=()))

    assert (plan.answer, plan.copies) == (Answer.TEMPFAIL, ())


def test_only_protected_copies_are_marked() -> None:
    """The mark stands where it was asked for and the copy is protected."""
    marked = replace(ENCRYPTED, mark=True)

    assert copy_of([marked], in_place=False).mark
    assert not copy_of([ENCRYPTED], in_place=False).mark
    assert not copy_of([replace(marked, treatment=Treatment.QUARANTINE)], in_place=False).mark
