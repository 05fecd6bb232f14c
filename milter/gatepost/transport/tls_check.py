"""
What is known of TLS to a domain, told to an admin: mail hosts, DANE, MTA-STS, partner rows, what the hosts offer.

The answer is the capability that the decision and the delivery would get. What the mail hosts offer now is told
beside it and assures nothing: whoever stands between could make it up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gatepost.directory.partner import Partner, Partners
from gatepost.errors import AddressError, StorageError
from gatepost.message.address import Address
from gatepost.transport import hop as hops
from gatepost.transport.assurance import Assurance, Discoverers
from gatepost.transport.capability import Capability, Discovery


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer for a domain: which next hop its mail takes, what is known of it, what its hosts offer now."""

    domain: str
    capability: Capability
    discovery: Discovery
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

    def __init__(self, partners: Partners, discoverer: Discoverers, probes: Probes | None) -> None:
        self._partners = partners
        self._discoverer = discoverer
        self._probes = probes

    async def check(self, domain: str) -> Checked:
        """Check a domain, or a next hop as Postfix names it; raises AddressError for what is neither."""
        try:
            domain = hops.normal(domain)
        except ValueError as error:
            raise AddressError(str(error)) from error
        hop, routed = self._route(domain)
        discovery = await self._discoverer.discover(hop)
        capability = await Assurance(self._partners, _Known(discovery)).capability(hop)
        offers: tuple[str, ...] = ()
        if self._probes is not None and discovery.hosts:
            offers = await self._probes.probe(discovery.hosts, hops.read(hop).port)
        found = (*discovery.steps, *discovery.dane.steps, *discovery.sts.steps)
        more = tuple(step for step in capability.steps if step not in found)
        return Checked(domain, capability, discovery, offers, (*routed, *found, *more, *offers))

    def _route(self, domain: str) -> tuple[str, tuple[str, ...]]:
        """Give the next hop that mail to a domain takes, and why."""
        row = self._row(domain)
        if row is None or not row.nexthop:
            return domain, ()
        return row.nexthop, (f"the partner row {row.pattern} sends its mail to {row.nexthop}",)

    def _row(self, domain: str) -> Partner | None:
        hop = hops.read(domain)
        if hop.direct:
            return None
        try:
            return self._partners.find(Address(raw=b"", local="", domain=hop.name))
        except StorageError:  # the capability tells it
            return None
