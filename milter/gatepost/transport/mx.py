"""
The mail hosts of a next hop, as Postfix finds them.

Rules:
  * `domain` and `domain:port` are looked up by MX; brackets (`[host]`, `[host]:port`, `[address]`) mean this very
    host (transport(5)).
  * No MX record: the domain is its own mail host (RFC 5321 section 5.1). The null MX: nothing takes its mail
    (RFC 7505). CNAMEs are followed.
  * An MX record that names no host Postfix could look up is passed over, and told.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from gatepost.errors import AddressError
from gatepost.message.address import normal_domain
from gatepost.transport.resolver import IpAddress, MailHost, Records, Resolver

_SMTP = 25
_SERVICES = {"smtp": _SMTP, "submission": 587, "submissions": 465, "smtps": 465}
_LAST_PORT = 65_535
_LONGEST_NAME = 253
_DAY = 86_400  # seconds
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?=[0-9.]*[a-z_-]){_LABEL}(\.{_LABEL})*")  # digits alone are no name
_HOP = re.compile(r"(?:\[(?P<host>[^\[\]]+)\]|(?P<domain>[^\[\]:]+))(?::(?P<port>[A-Za-z0-9]{1,15}))?")


@dataclass(frozen=True, slots=True)
class NextHop:
    """
    A next hop read: `host` in A-labels, or an address as text with `address` set; `by_mx`: its MX records count.
    """

    host: str
    port: int
    by_mx: bool
    address: IpAddress | None = None


@dataclass(frozen=True, slots=True)
class MailHosts:
    """
    The hosts that take mail for a next hop, best first; none: nothing takes it.

    `secure`: DNSSEC vouches for this list, or no DNS was asked for it. `seconds`: how long it may be kept.
    """

    hop: NextHop
    hosts: tuple[MailHost, ...]
    secure: bool
    seconds: int
    steps: tuple[str, ...]


def read_hop(text: str) -> NextHop:
    """Read a next hop as Postfix names it. Raises AddressError."""
    found = _HOP.fullmatch(text)
    if not found:
        raise AddressError(f'the next hop "{text}" is not `domain`, `[host]` or `[address]`, `:port` or not')
    port = _port(found["port"], text)
    if found["domain"]:
        return NextHop(_host(found["domain"], text), port, by_mx=True)
    host = found["host"]
    try:
        address = ip_address(host[5:] if host.lower().startswith("ipv6:") else host)
    except ValueError:
        return NextHop(_host(host, text), port, by_mx=False)
    return NextHop(str(address), port, by_mx=False, address=address)


async def find_hosts(resolver: Resolver, hop: NextHop) -> MailHosts:
    """Give the mail hosts of a next hop. Raises LookUpFailed."""
    if not hop.by_mx:
        step = f"[{hop.host}] is the mail host itself: no MX records are asked for"
        return MailHosts(hop, (MailHost(0, hop.host),), secure=True, seconds=_DAY, steps=(step,))
    found = await resolver.mx(hop.host)
    if not found.exists:
        return _nobody(hop, found, f"the domain {hop.host} does not exist in DNS")
    if not found.values:
        return await _its_own_host(resolver, hop, found)
    if all(not host.name for host in found.values):
        return _nobody(hop, found, f"{hop.host} takes no mail: it has the null MX (RFC 7505)")
    hosts = tuple(host for host in found.values if is_host(host.name))
    unusable = [
        f'MX {host.preference} "{host.name or "."}" names no host: passed over'
        for host in found.values
        if host not in hosts
    ]
    named = ", ".join(f"{host.preference} {host.name}" for host in hosts)
    step = f"MX records of {hop.host}: {named or 'none that can be used'} ({_vouched(secure=found.secure)})"
    return MailHosts(hop, hosts, found.secure, found.seconds, (step, *unusable))


def is_host(name: str) -> bool:
    """Tell whether a name in lower-case A-labels can be a host's, as Postfix sees it; `_` may stand in it."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


async def _its_own_host(resolver: Resolver, hop: NextHop, asked: Records[MailHost]) -> MailHosts:
    addresses = await resolver.addresses(hop.host)
    seconds = min(asked.seconds, addresses.seconds)
    if not addresses.values:
        step = f"{hop.host} has no MX record and no address: nothing takes its mail"
        return MailHosts(hop, (), asked.secure, seconds, (step,))
    step = f"{hop.host} has no MX record ({_vouched(secure=asked.secure)}): it is its own mail host"
    return MailHosts(hop, (MailHost(0, hop.host),), asked.secure, seconds, (step,))


def _nobody(hop: NextHop, found: Records[MailHost], step: str) -> MailHosts:
    return MailHosts(hop, (), found.secure, found.seconds, (f"{step} ({_vouched(secure=found.secure)})",))


def _vouched(*, secure: bool) -> str:
    return "validated by DNSSEC" if secure else "not validated by DNSSEC"


def _host(text: str, hop: str) -> str:
    name = normal_domain(text)
    if not is_host(name):
        raise AddressError(f'the next hop "{hop}" names no host: "{text}"')
    return name


def _port(text: str | None, hop: str) -> int:
    if text is None:
        return _SMTP
    port = _SERVICES.get(text.lower()) or (int(text) if text.isascii() and text.isdigit() else 0)
    if not 0 < port <= _LAST_PORT:
        raise AddressError(f'the next hop "{hop}" names no port: "{text}"')
    return port
