"""
Which domains could take assured TLS instead of envelopes or quarantine: advice for the partner table.

A domain is worth a look where enough of its mail had to be protected and did not go by TLS, and where no partner
row has a TLS policy for it. What is suggested keeps the rungs with a key before TLS: nothing that is encrypted
today goes by TLS instead. Nothing is changed.
"""

import asyncio
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gatepost.directory.partner import Partner, Partners
from gatepost.directory.partner_rules import columns_of
from gatepost.directory.usage import DomainUse
from gatepost.errors import AddressError, StorageError
from gatepost.message.address import Address
from gatepost.transport.tls_check import Checked

_AT_ONCE = 8
_WITH_KEYS = ("smime", "openpgp")
_DEFAULTS = columns_of(Partner(""))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """
    One domain: its counts, what assures TLS to it, and the command that makes use of it.

    `command` is empty where nothing is to be done; `reason` then says why.
    """

    use: DomainUse
    by: str = ""
    steps: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    reason: str = ""

    @property
    def text(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(self.command)


class Checks(Protocol):
    """Checks domains, as `tls check` does, without knocking at their hosts."""

    async def check(self, domain: str) -> Checked:
        """Tell whether TLS to a domain is assured, and by what; raises AddressError for what is no domain."""


class Adviser:
    """Makes suggestions, for one event loop; `ladder` is the site's for `encrypt`."""

    def __init__(
        self,
        *,
        partners: Partners,
        checks: Checks,
        is_internal: Callable[[str], bool],
        ladder: Sequence[str],
    ) -> None:
        self._partners = partners
        self._checks = checks
        self._is_internal = is_internal
        self._ladder = tuple(ladder)

    async def suggest(self, uses: Iterable[DomainUse], *, least: int, most: int) -> tuple[Suggestion, ...]:
        """Look at the domains with at least so many copies in question, at most so many domains."""
        worth = [one for one in uses if one.protected - one.by_tls >= least and not self._is_internal(one.domain)]
        worth.sort(key=lambda one: (-one.enveloped - one.held, -one.protected, one.domain))
        turns = asyncio.Semaphore(_AT_ONCE)

        async def judged(use: DomainUse) -> Suggestion | None:
            async with turns:
                return await self._judged(use)

        found = await asyncio.gather(*(judged(use) for use in worth[:most]))
        return tuple(one for one in found if one is not None)

    async def _judged(self, use: DomainUse) -> Suggestion | None:
        """Judge one domain; None where the partner table has a TLS policy for it already."""
        try:
            row = await asyncio.to_thread(self._partners.find, Address(b"", "", use.domain))
            if row is not None and row.tls:
                return None
            checked = await self._checks.check(use.domain)
        except (AddressError, StorageError) as error:
            return Suggestion(use, reason=str(error))
        capability = checked.capability
        if capability.unknown:
            return Suggestion(use, steps=checked.steps, reason="not known now; ask again later")
        if not capability.assured or capability.by == "partner":
            return Suggestion(use, steps=checked.steps, reason="nothing that its domain publishes assures TLS")
        if checked.detour:
            why = f"Postfix sends its mail elsewhere ({checked.detour}); name its mail host with --nexthop"
            return Suggestion(use, steps=checked.steps, reason=why)
        command = self._command(use.domain, row, capability.by)
        return Suggestion(use, capability.by, checked.steps, command)

    def _command(self, domain: str, row: Partner | None, tls: str) -> tuple[str, ...]:
        """Write the command that gives the domain a TLS policy and keeps what a row that matches it says."""
        old = row or Partner(domain)
        new = replace(old, pattern=domain, tls=tls, ladder=_with_tls(old.ladder or self._ladder))
        known = columns_of(old) if row is not None and row.pattern == domain else _DEFAULTS
        options = (
            (f"--{name.replace('_', '-')}", value)
            for name, value in columns_of(new).items()
            if name != "pattern" and value != known[name]
        )
        verb = "set" if row is not None and row.pattern == domain else "add"
        return ("gatepost", "partner", verb, domain, *(word for option in options for word in option))


def _with_tls(ladder: Sequence[str]) -> tuple[str, ...]:
    """Put TLS behind the rungs that need a key, before all others."""
    if "tls" in ladder:
        return tuple(ladder)
    keyed = [place for place, word in enumerate(ladder, start=1) if word in _WITH_KEYS]
    place = max(keyed, default=0)
    return (*ladder[:place], "tls", *ladder[place:])
