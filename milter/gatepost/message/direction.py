"""
The direction of one recipient: out, internal, in or transit.

A client is inside if it authenticated, or came to an inside listener, or comes from an internal network and
not to an outside listener. Never by From: whoever writes a header must not gain by it.
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from gatepost.message.address import Address, parent_domains
from gatepost.message.transaction import Client, Recipient

# The listeners behind alias expansion, whose mail other listeners took: they tell the side from which it came.
FROM_INSIDE = "gatepost-inside"
FROM_OUTSIDE = "gatepost-outside"
BEHIND = frozenset({FROM_INSIDE, FROM_OUTSIDE})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Direction(StrEnum):
    """Where a message comes from and goes to, seen from the site."""

    OUT = "out"
    INTERNAL = "internal"
    IN = "in"
    TRANSIT = "transit"


@dataclass(frozen=True, slots=True)
class Site:
    """What is inside: domains (`.domain` adds its subdomains), networks and listeners."""

    domains: frozenset[str]
    networks: tuple[Network, ...] = ()
    inside_listeners: frozenset[str] = frozenset()
    outside_listeners: frozenset[str] = frozenset()

    def is_internal(self, address: Address) -> bool:
        """Tell whether the address is one of ours; a bare local part is completed by our own mail server."""
        return not address.domain or self.is_internal_domain(address.domain)

    def is_ours(self, recipient: Recipient) -> bool:
        """Tell whether all that is behind a recipient is inside, once aliases were followed."""
        return not recipient.tied and self.is_internal(recipient.address)

    def is_internal_domain(self, domain: str) -> bool:
        """Tell whether the domain is one of ours."""
        return domain in self.domains or any(f".{parent}" in self.domains for parent in parent_domains(domain))

    def is_inside(self, client: Client) -> bool:
        """Tell whether the client is one of ours."""
        if client.authenticated or client.listener in self.inside_listeners:
            return True
        if client.listener in self.outside_listeners:
            return False
        return self._in_network(client.address)

    def _in_network(self, text: str) -> bool:
        address = _ip_address(text)
        return address is not None and any(
            address in network for network in self.networks if network.version == address.version
        )

    def direction(self, client: Client, recipient: Address) -> Direction:
        """Tell the direction of one recipient of what this client hands in."""
        if self.is_inside(client):
            return Direction.INTERNAL if self.is_internal(recipient) else Direction.OUT
        return Direction.IN if self.is_internal(recipient) else Direction.TRANSIT


@lru_cache(maxsize=4096)
def _ip_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
