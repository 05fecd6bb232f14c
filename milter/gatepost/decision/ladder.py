"""
Ladders: the treatments that may meet a demand, best first; the first that the recipient can take is used.

A partner's own rungs satisfy every demand up to `encrypt`, TLS included: its row says that TLS to it protects.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gatepost.decision.demand import PROTECTING, Demand, Treatment
from gatepost.decision.facts import RecipientFacts, Rung


@dataclass(frozen=True, slots=True)
class Ladders:
    """The site's ladders, as the settings under `[ladder]` give them."""

    encrypt: tuple[Treatment, ...] = (
        Treatment.SMIME,
        Treatment.OPENPGP,
        Treatment.SECUREDOC,
        Treatment.PICKUP,
    )
    tls: tuple[Treatment, ...] = (
        Treatment.TLS,
        Treatment.SMIME,
        Treatment.OPENPGP,
        Treatment.SECUREDOC,
        Treatment.PICKUP,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """
    The rung that was taken, if one was, and why it was this one.

    `unknown` names those passed over of which nobody knows now whether they are usable.
    """

    treatment: Treatment | None
    rung: Rung | None
    reasons: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def choose(
    ruled: tuple[Treatment, ...], demand: Demand, facts: RecipientFacts, ladders: Ladders
) -> tuple[str, ...]:
    """Choose the ladder: the rules', else the partner row's, else the site's."""
    if ruled:
        return ruled
    site = ladders.encrypt if demand is Demand.ENCRYPT else ladders.tls
    partner = facts.partner
    if partner is None:
        return site
    if partner.ladder:
        return partner.ladder
    return (Treatment.TLS, *site) if partner.tls and Treatment.TLS not in site[:1] else site


def climb(ladder: Iterable[str], facts: RecipientFacts, refused: Treatment | None, why: str) -> Step:
    """Take the first rung that is configured and usable; `refused` is passed over for the reason `why`."""
    reasons: list[str] = []
    unknown: list[str] = []
    for word in ladder:
        if word not in PROTECTING:
            reasons.append(f"{word}: protects nothing")
            continue
        treatment = Treatment(word)
        rung = facts.rungs.get(treatment)
        if treatment is refused:
            reasons.append(f"{word}: {why}")
        elif rung is None:
            reasons.append(f"{word}: not configured")
        elif rung.usable:
            return Step(treatment, rung, (*reasons, f"{word}: {rung.reason}"))
        else:
            reasons.append(f"{word}: {rung.reason}")
            unknown += [word] if rung.unknown else []
    return Step(None, None, tuple(reasons), tuple(unknown))
