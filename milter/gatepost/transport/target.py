"""
Which addresses a look-up on the web, or a probe, may connect to.

What a stranger's DNS names decides where this host connects to: only public addresses, unless the settings allow
others. IPv6 addresses that carry an IPv4 address are no way around: NAT64 is judged by what it carries, the others
are refused. Whoever connects resolves the name once and connects to the very addresses that were checked: asking
again could give others.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from gatepost.transport.resolver import IpAddress, LookUpFailed

_IPV4_BITS = 0xFFFFFFFF
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how a host without IPv4 reaches one of IPv4
_NOT_PUBLIC = (
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291 section 2.5.5.2
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of one's own, RFC 8215
    IPv6Network("2001::/32"),  # Teredo, RFC 4380
    IPv6Network("2002::/16"),  # 6to4, RFC 3056
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
    IPv6Network("fec0::/10"),  # site-local, RFC 3879
)


def reachable(addresses: Sequence[IpAddress], *, allow_private: bool = False) -> tuple[IpAddress, ...]:
    """Give those addresses of one host that may be connected to. Raises LookUpFailed where there are none."""
    if not addresses:
        raise LookUpFailed("the host has no address")
    refused = {address: refusal(address, allow_private=allow_private) for address in addresses}
    allowed = tuple(address for address, reason in refused.items() if not reason)
    if not allowed:
        reasons = ", ".join(f"{address} ({reason})" for address, reason in refused.items())
        raise LookUpFailed(
            f"the host is not connected to: {reasons}; `dns.allow_private` allows private addresses"
        )
    return allowed


def refusal(address: IpAddress, *, allow_private: bool = False) -> str:
    """Tell why an address may not be connected to; empty if it may."""
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified:
        return "unspecified"
    return "" if allow_private else _not_public(address)


def _not_public(address: IpAddress) -> str:
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            inner = IPv4Address(int(address) & _IPV4_BITS)
            return f"it stands for {inner}" if refusal(inner) else ""
        if any(address in network for network in _NOT_PUBLIC):
            return "private, or a way to IPv4 addresses"
    if address.is_reserved:
        return "reserved"
    return "" if address.is_global else "private"
