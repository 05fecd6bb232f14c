"""
The mail hosts of a next hop, as Postfix finds them.

Rules:
  * `domain` and `domain:port` are looked up by MX; brackets (`[host]`, `[host]:port`, `[address]`) mean this very
    host (transport(5)).
  * No MX record: the domain is its own mail host (RFC 5321 section 5.1). The null MX: nothing takes its mail
    (RFC 7505). CNAMEs are followed.
  * An MX record that names no host is passed over, and told. One that spells an address counts: Postfix delivers
    there.
"""

from gatepost.transport.discovery import MailHosts
from gatepost.transport.hop import Hop, is_address, is_host
from gatepost.transport.resolver import MailHost, Records, Resolver

_DAY = 86_400  # seconds


async def find_hosts(resolver: Resolver, hop: Hop) -> MailHosts:
    """Give the mail hosts of a next hop. Raises LookUpFailed."""
    if hop.direct:
        step = f"[{hop.name}] is the mail host itself: no MX records are asked for"
        return MailHosts((hop.name,), secure=True, seconds=_DAY, steps=(step,))
    found = await resolver.mx(hop.name)
    if not found.exists:
        return _nobody(found, f"the domain {hop.name} does not exist in DNS")
    if not found.values:
        return await _its_own_host(resolver, hop, found)
    if all(not host.name for host in found.values):
        return _nobody(found, f"{hop.name} takes no mail: it has the null MX (RFC 7505)")
    hosts = tuple(host for host in found.values if is_host(host.name) or is_address(host.name))
    unusable = [
        f'MX {host.preference} "{host.name or "."}" names no host: passed over'
        for host in found.values
        if host not in hosts
    ]
    named = ", ".join(f"{host.preference} {host.name}" for host in hosts)
    step = f"MX records of {hop.name}: {named or 'none that can be used'} ({_vouched(secure=found.secure)})"
    names = tuple(dict.fromkeys(host.name for host in hosts))
    return MailHosts(names, found.secure, found.seconds, (step, *unusable))


async def _its_own_host(resolver: Resolver, hop: Hop, asked: Records[MailHost]) -> MailHosts:
    addresses = await resolver.addresses(hop.name)
    seconds = min(asked.seconds, addresses.seconds)
    if not addresses.values:
        step = f"{hop.name} has no MX record and no address: nothing takes its mail"
        return MailHosts((), asked.secure, seconds, (step,))
    step = f"{hop.name} has no MX record ({_vouched(secure=asked.secure)}): it is its own mail host"
    return MailHosts((hop.name,), asked.secure, seconds, (step,))


def _nobody(found: Records[MailHost], step: str) -> MailHosts:
    return MailHosts((), found.secure, found.seconds, (f"{step} ({_vouched(secure=found.secure)})",))


def _vouched(*, secure: bool) -> str:
    return "validated by DNSSEC" if secure else "not validated by DNSSEC"
