"""
The TLS policy that Postfix must keep when it delivers to a next hop, as lines of smtp_tls_policy_maps.

Three tables, all answered from the same Capability:
  * `tls` serves the transport `gatepost-tls`, which carries only mail that was decided to need assured TLS. It
    knows no "not found": what assures nothing any more, or cannot be told now, defers the mail. Nothing gets
    weaker between decision and delivery.
  * `sts` serves the ordinary transport, whose mail needs no protection. Where a partner row, DANE or MTA-STS
    speaks for the next hop it must be kept all the same (RFC 8461 section 5), so doubt defers; where nothing
    speaks, "not found" leaves that transport as it would be without us.
  * `capability` tells the milter, before it decides, what `tls` would answer: a Capability as JSON.

A key is a next hop as Postfix names it: `domain`, `[host]`, either with `:port`. After a domain that was not found
Postfix asks for `.parent`: there stands nothing.
"""

import json
from asyncio import Future
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from gatepost.transport.answer import Answer, Found, LookUp, NotFound, TryAgain
from gatepost.transport.capability import Capability
from gatepost.transport.recent import RecentAnswers

_LONGEST = 300  # characters of a next hop: a name has 253, beside it stand brackets and a port
_MOST_TOLD = 4000  # characters of reasons in one answer
_NO_HOP = TryAgain("the key is no next hop: it is too long or begins with a dot")


class Assures(Protocol):
    """Tells how TLS to a next hop is assured."""

    async def capability(self, hop: str) -> Capability:
        """Give it; never raises, what cannot be told now is `unknown`."""


class Reports(Protocol):
    """Tells what Postfix needs to report on TLS."""

    async def attributes(self, hop: str) -> str:
        """Give what stands behind the policy line of a next hop whose MTA-STS policy is kept; or nothing."""


def tables(assurance: Assures, reports: Reports | None = None) -> dict[str, LookUp]:
    """Give the tables of the policy service by name; with `reports`, lines for Postfix bear their attributes."""
    return {
        "tls": PolicyTable(assurance, tls, _NO_HOP, reports),
        "sts": PolicyTable(assurance, sts, NotFound(), reports),
        "capability": PolicyTable(assurance, told, _NO_HOP),
    }


class PolicyTable:
    """One table: a `LookUp` that remembers its answers for a moment. For one event loop."""

    def __init__(
        self,
        assurance: Assures,
        answer: Callable[[Capability], Answer],
        no_hop: Answer,
        reports: Reports | None = None,
    ) -> None:
        """Take what tells capabilities, how this table puts one, and its answer for what is no next hop."""
        self._assurance = assurance
        self._reports = reports
        self._answer = answer
        self._no_hop = no_hop
        self._recent = RecentAnswers(self._look_up)

    def __call__(self, key: str) -> Answer | Future[Answer]:
        """Answer for a next hop."""
        if key.startswith(".") or len(key) > _LONGEST:
            return self._no_hop
        return self._recent(key.lower())

    async def _look_up(self, hop: str) -> Answer:
        found = await self._assurance.capability(hop)
        if self._reports is not None and found.assured and found.by == "mta-sts":
            found = replace(found, policy=f"{found.policy} {await self._reports.attributes(hop)}".rstrip())
        return self._answer(replace(found, hop=hop))  # as it was asked for: the asker compares


def tls(found: Capability) -> Answer:
    """Answer for mail that must be protected."""
    if found.assured:
        return Found(found.policy)
    return TryAgain(_reasons(found) or f"nothing assures TLS to {found.hop}")


def sts(found: Capability) -> Answer:
    """Answer for ordinary mail."""
    if found.assured:
        return Found(found.policy)
    if found.unknown or found.by:
        return TryAgain(_reasons(found) or f"what TLS to {found.hop} must be like is not known now")
    return NotFound()


def told(found: Capability) -> Answer:
    """Answer for the milter."""
    steps = found.steps if sum(map(len, found.steps)) <= _MOST_TOLD else (_reasons(found),)
    return Found(json.dumps(replace(found, steps=steps).as_json()))


def _reasons(found: Capability) -> str:
    return "; ".join(found.steps)[:_MOST_TOLD]
