"""
Resuming: what is left to do of a plan that an earlier try began.

The stored plan decides, whatever rules and tables say by now: treatment, next hop, keys by fingerprint. Where a
recipient can no longer be treated so (a key is gone), that recipient alone is decided again, never weaker: a
decision that demands less, protects less or refuses the message holds the copy instead, and one that cannot be
made now puts the message off once more. What was to go over TLS goes so even if nobody knows today whether it can:
at delivery the transport asks again. Those to whom the site's aliases lead only now are decided by today's rules.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gatepost.decision.demand import PROTECTING, Treatment
from gatepost.decision.facts import Rung
from gatepost.decision.plan import Answer, Copy, Judgement, Plan
from gatepost.directory.key import Key
from gatepost.gateway.entry import Entry
from gatepost.message.transaction import Recipient

Rungs = Callable[[Recipient, Treatment], Rung | None]


def rest_of(entry: Entry, anew: Plan, rungs: Rungs) -> Plan:
    """
    Give the stored plan with only the copies that are left to send.

    `anew` is today's decision about the message; `rungs` tells whether a recipient can take a treatment today.
    """
    today = {one.recipient: one for one in anew.judgements}
    judgements: list[Judgement] = []
    left: list[Judgement] = []
    changed: list[Judgement] = []
    for before, progress in zip(entry.plan.judgements, entry.progress, strict=True):
        now = today.pop(before.recipient, None)
        if progress.done:
            judgements.append(before)
        elif now is not None and (same := _as_before(before, now, rungs)) is not None:
            left.append(same)
        elif now is not None:
            changed.append(_never_weaker(before, now))
    changed += [_unrefused(one) for one in today.values()]  # where aliases lead elsewhere by now
    if any(one.treatment is Treatment.TEMPFAIL for one in changed):
        return Plan(Answer.TEMPFAIL, (*judgements, *left, *changed), ())
    copies = [copy for before in entry.plan.copies if (copy := _reduced(before, left)) is not None]
    copies += [copy_of([one], in_place=False) for one in changed]
    answer = Answer.ACCEPT if any(copy.in_place for copy in copies) else Answer.DISCARD
    return Plan(answer, (*judgements, *left, *changed), tuple(copies), anew.inbound)


def copy_of(members: Sequence[Judgement], *, in_place: bool) -> Copy:
    """Make the copy of recipients who were judged alike; its subject is not kept."""
    first = members[0]
    keys: dict[str, Key] = {key.fingerprint: key for member in members for key in member.keys}
    return Copy(
        treatment=first.treatment,
        recipients=tuple(member.recipient for member in members),
        subject="",
        in_place=in_place,
        keys=tuple(keys.values()),
        nexthop=first.nexthop,
        mark=first.mark and first.treatment in PROTECTING,
        signed=first.signed,
        floor=first.floor,
    )


def _as_before(before: Judgement, now: Judgement, rungs: Rungs) -> Judgement | None:
    """Give the judgement with today's keys of the same fingerprints; None where it cannot be carried out."""
    if before.direction is not now.direction:
        return None
    if before.treatment not in PROTECTING:
        return replace(before, recipient=now.recipient)
    rung = rungs(now.recipient, before.treatment)
    if rung is None or not (rung.usable or rung.unknown) or rung.nexthop != before.nexthop:
        return None
    today = {key.fingerprint: key for key in rung.keys}
    wanted = [key.fingerprint for key in before.keys]
    if not today.keys() >= set(wanted):
        return None
    return replace(before, recipient=now.recipient, keys=tuple(today[one] for one in wanted))


def _never_weaker(before: Judgement, now: Judgement) -> Judgement:
    if now.treatment is Treatment.TEMPFAIL:
        return now
    protects = now.treatment in PROTECTING or before.treatment is Treatment.PASS
    reason = f"{before.treatment} is not possible any more: decided again"
    if protects and now.demand >= before.demand:
        return _unrefused(replace(now, reasons=(*now.reasons, reason)))
    return _held(now, reason, "held, since it must not leave less protected than was decided")


def _unrefused(judgement: Judgement) -> Judgement:
    """Hold what would be refused: a part of the message may have gone, so it cannot be refused as a whole."""
    return _held(judgement) if judgement.treatment is Treatment.REJECT else judgement


def _held(judgement: Judgement, *reasons: str) -> Judgement:
    reasons = (*judgement.reasons, *reasons)
    return replace(judgement, treatment=Treatment.QUARANTINE, reasons=reasons, keys=(), nexthop="", signed="")


def _reduced(copy: Copy, left: Sequence[Judgement]) -> Copy | None:
    """Give a copy for those of its recipients who are left."""
    wanted = set(copy.recipients)
    members = [one for one in left if one.recipient in wanted]
    return copy_of(members, in_place=copy.in_place) if members else None
