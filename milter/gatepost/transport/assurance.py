"""
Whether TLS to a next hop is assured: the one place that says so, for the decision and for the delivery alike.

In this order:
  1. Partner rows of that next hop with `tls`: what they demand, and nothing else. All of them must hold. A
     delivery obeys one policy line only, so rows that no one line keeps assure nothing; their mail goes by another
     way.
  2. DANE (RFC 7672).
  3. MTA-STS in `enforce` (RFC 8461). It never overrides a DANE that fails or cannot be asked for (section 2):
     while DANE is unknown, all is unknown.

What cannot be told now is `unknown`, never "no", and never assured. Nothing is raised.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gatepost.directory.partner import Partner, Partners
from gatepost.errors import StorageError, cause
from gatepost.log import logger
from gatepost.transport import hop as hops
from gatepost.transport import policy_line
from gatepost.transport.capability import Capability, Discovery, Method

_DOUBT = "DANE is not known now, and MTA-STS must not override it (RFC 8461 section 2)"


class Discoverers(Protocol):
    """Tells what DNS and the web say of a next hop, live or from a cache."""

    async def discover(self, hop: str) -> Discovery:
        """Give it within the deadline of look-ups; what is not known by then is `unknown`. Never raises."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What one row demands of this next hop."""

    pattern: str
    method: Method


class Assurance:
    """Answers for next hops, for one event loop."""

    def __init__(self, partners: Partners, discoverer: Discoverers) -> None:
        self._partners = partners
        self._discoverer = discoverer

    async def capability(self, hop: str) -> Capability:
        """Tell how TLS to a next hop is assured, as Postfix names it: `domain`, `[host]`, either with `:port`."""
        try:
            hop = hops.normal(hop)
        except ValueError as error:
            return Capability(hop, assured=False, steps=(str(error),))
        try:
            found = await asyncio.to_thread(self._partners.find_nexthop, hop)
        except StorageError as error:
            logger.warning("the partner table cannot be read", hop=hop, cause=cause(error))
            return Capability(hop, assured=False, unknown=True, steps=("the partner table cannot be read now",))
        rows = sorted((row for row in found if row.tls), key=lambda row: row.pattern)
        if any(row.tls in {"dane", "mta-sts"} for row in rows):
            return _by_partner(hop, rows, await self._discoverer.discover(hop))
        if rows:
            return _by_partner(hop, rows, None)
        return _by_discovery(hop, await self._discoverer.discover(hop))


def _by_partner(hop: str, rows: Sequence[Partner], discovery: Discovery | None) -> Capability:
    judged = [_Judged(row.pattern, _demanded(row, discovery)) for row in rows]
    steps = (
        *(discovery.steps if discovery else ()),
        *(step for one in judged for step in one.method.steps),
    )
    if any(not one.method.assured and not one.method.unknown for one in judged):
        return Capability(hop, assured=False, by="partner", steps=steps)
    if any(one.method.unknown for one in judged):
        return Capability(hop, assured=False, by="partner", unknown=True, steps=steps)
    policy = _together([one.method.policy for one in judged], hop)
    names = ", ".join(one.pattern for one in judged)
    if not policy:
        told = f"the partner rows {names} demand different TLS policies of {hop}, and no single one keeps all"
        return Capability(hop, assured=False, by="partner", steps=(*steps, told))
    if len({one.method.policy for one in judged}) > 1:
        steps = (*steps, f"the partner rows {names} together demand: {policy}")
    return Capability(hop, assured=True, by="partner", policy=policy, steps=steps)


def _demanded(row: Partner, discovery: Discovery | None) -> Method:
    """Give what a row demands, as far as the next hop can take it."""
    if discovery is not None and row.tls == "dane":
        return _told(discovery.dane, f"the partner row {row.pattern} demands DANE")
    if discovery is not None and row.tls == "mta-sts":
        in_doubt = discovery.sts.assured and discovery.dane.unknown
        doubt = Method(assured=False, unknown=True, steps=(*discovery.sts.steps, _DOUBT))
        method = doubt if in_doubt else discovery.sts
        return _told(method, f"the partner row {row.pattern} demands MTA-STS")
    try:
        policy = policy_line.of_partner(row).text
    except ValueError as error:
        return Method(assured=False, steps=(str(error),))
    return Method(assured=True, policy=policy, steps=(f"the partner row {row.pattern} demands: {policy}",))


def _told(method: Method, demand: str) -> Method:
    outcome = "assured" if method.assured else "not known now" if method.unknown else "not assured"
    return Method(method.assured, method.policy, method.unknown, (*method.steps, f"{demand}: {outcome}"))


def _together(policies: Sequence[str], hop: str) -> str:
    """Give the one line that keeps all; empty if there is none."""
    if len(set(policies)) == 1:
        return policies[0]
    lines = [policy_line.read(policy) for policy in policies]
    line = policy_line.joined([one for one in lines if one is not None], hop) if all(lines) else None
    return line.text if line is not None else ""


def _by_discovery(hop: str, found: Discovery) -> Capability:
    steps = (*found.steps, *found.dane.steps)
    if found.dane.assured:
        return Capability(hop, assured=True, by="dane", policy=found.dane.policy, steps=steps)
    steps = (*steps, *found.sts.steps)
    if found.dane.unknown:
        return Capability(hop, assured=False, unknown=True, steps=(*steps, _DOUBT))
    if found.sts.assured:
        return Capability(hop, assured=True, by="mta-sts", policy=found.sts.policy, steps=steps)
    return Capability(hop, assured=False, unknown=found.sts.unknown, steps=steps)
