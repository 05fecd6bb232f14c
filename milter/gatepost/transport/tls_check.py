"""
What is known of TLS to a domain, told to an admin: mail hosts, DANE, MTA-STS, partner rows, what the hosts offer.

The answer is the capability that the decision and the delivery would get. What the mail hosts offer now is told
beside it and assures nothing: whoever stands between could make it up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gatepost.directory.partner import Partner, Partners
from gatepost.errors import AddressError, RouteError, StorageError
from gatepost.message.address import Address
from gatepost.transport import hop as hops
from gatepost.transport.assurance import Assurance, Discoverers
from gatepost.transport.capability import Capability, Discovery

_REMEDY = "`gatepost partner set` with --nexthop names the host to verify"

Detours = Callable[[Address], str]
"""Tells by what the mail server sends mail to a domain elsewhere; empty if it does not. Raises RouteError."""


@dataclass(frozen=True, slots=True)
class Checked:
    """
    The answer for a domain: which next hop its mail takes, what is known of it, what its hosts offer now.

    `detour` tells why mail to it does not go over TLS although it could; `steps` everything in order.
    """

    domain: str
    capability: Capability
    discovery: Discovery
    detour: str
    offers: tuple[str, ...]
    steps: tuple[str, ...]


class Probes(Protocol):
    """Looks at what mail hosts offer."""

    async def probe(self, hosts: Sequence[str], port: int) -> tuple[str, ...]:
        """Give a line or more for each host; never raises."""


class _Known:
    """Gives one discovery again."""

    def __init__(self, found: Discovery) -> None:
        self._found = found

    async def discover(self, hop: str) -> Discovery:
        """Give it, whatever is asked."""
        del hop
        return self._found


class TlsCheck:
    """Checks domains, for one event loop."""

    def __init__(
        self, partners: Partners, discoverer: Discoverers, detours: Detours, probes: Probes | None
    ) -> None:
        self._partners = partners
        self._discoverer = discoverer
        self._detours = detours
        self._probes = probes

    async def check(self, domain: str) -> Checked:
        """Check a domain, or a next hop as Postfix names it; raises AddressError for what is neither."""
        try:
            domain = hops.normal(domain)
        except ValueError as error:
            raise AddressError(str(error)) from error
        hop, detour, routed = self._route(domain)
        discovery = await self._discoverer.discover(hop)
        capability = await Assurance(self._partners, _Known(discovery)).capability(hop)
        offers: tuple[str, ...] = ()
        if self._probes is not None and discovery.hosts:
            offers = await self._probes.probe(discovery.hosts, hops.read(hop).port)
        found = (*discovery.steps, *discovery.dane.steps, *discovery.sts.steps)
        more = tuple(step for step in capability.steps if step not in found)
        return Checked(domain, capability, discovery, detour, offers, (*routed, *found, *more, *offers))

    def _route(self, domain: str) -> tuple[str, str, tuple[str, ...]]:
        """Give the next hop that mail to a domain takes, why it takes none by TLS, and a step that tells it."""
        hop = hops.read(domain)
        if hop.direct:
            return domain, "", ()
        address = Address(raw=b"", local="", domain=hop.name)
        row = self._row(address)
        if row is not None and row.nexthop:
            return row.nexthop, "", (f"the partner row {row.pattern} sends its mail to {row.nexthop}",)
        try:
            elsewhere = self._detours(address)
        except RouteError as error:
            return domain, str(error), (f"how Postfix routes mail to {hop.name} is not known: {error}",)
        if not elsewhere:
            return domain, "", ()
        step = (
            f"Postfix sends mail to {hop.name} elsewhere ({elsewhere}), so none goes over assured TLS; {_REMEDY}"
        )
        return domain, elsewhere, (step,)

    def _row(self, address: Address) -> Partner | None:
        try:
            return self._partners.find(address)
        except StorageError:  # the capability tells it
            return None
