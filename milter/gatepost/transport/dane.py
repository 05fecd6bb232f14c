"""
DANE for SMTP (RFC 7672): whether TLSA records under a validated chain name the keys of every mail host.

Rules:
  * The answer that names the mail hosts must be validated, and every host that has an address must have a usable
    TLSA record. One host without is enough to assure nothing: whoever can silence the others gets the mail.
  * A host whose addresses are not validated is asked nothing more (section 2.2.2); where it is an alias, and the
    alias itself is validated, its own name is. A validated alias is asked at its end first.
  * Usages 0 and 1 mean nothing to SMTP (section 3.1.3). Where no record is usable, TLS could be encrypted but not
    authenticated (section 2.2): that assures nothing.
  * A look-up that failed makes the whole unknown, never "none" (section 2.1.1).

Postfix's level `dane-only` keeps this at delivery: it takes no host without usable records, and none named by
an answer without validation.
"""

import asyncio
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_der_x509_certificate

from gatepost.transport.capability import Method
from gatepost.transport.discovery import Finding, MailHosts
from gatepost.transport.hop import Hop, is_address
from gatepost.transport.resolver import IpAddress, LookUpFailed, Records, Resolver, Tlsa

POLICY = "dane-only"
_DAY = 86_400  # seconds
_USAGES = {2, 3}  # DANE-TA, DANE-EE
_CERTIFICATE, _KEY = 0, 1  # selectors
_WHOLE = 0  # matching type: no digest
_DIGESTS = {1: 32, 2: 64}  # octets by matching type: SHA2-256, SHA2-512


@dataclass(frozen=True, slots=True)
class _Host:
    """What was found for one mail host; `absent`: it has no address, so no mail can go there."""

    step: str
    seconds: int
    usable: bool = False
    unknown: bool = False
    absent: bool = False


async def judge(resolver: Resolver, hop: Hop, hosts: MailHosts) -> Finding:
    """Tell whether DANE assures TLS to every mail host of a next hop. What fails is `unknown`; never raises."""
    if not hosts.secure:
        step = "DANE: the mail hosts are not validated by DNSSEC, so no TLSA records are asked for"
        return Finding(Method(assured=False, steps=(step,)), hosts.seconds)
    found = await asyncio.gather(*(_host(resolver, name, hop.port) for name in hosts.names))
    unknown = any(host.unknown for host in found)
    reachable = [host for host in found if not host.absent]
    assured = bool(reachable) and all(host.usable for host in reachable)
    steps = tuple(f"DANE: {host.step}" for host in found)
    seconds = min((hosts.seconds, *(host.seconds for host in found)))
    return Finding(Method(assured, POLICY if assured else "", unknown, steps), seconds)


def fault(record: Tlsa) -> str:
    """Tell why a TLSA record cannot be used for SMTP; empty if it can."""
    if record.usage not in _USAGES:
        return f"usage {record.usage} is not for SMTP"
    if record.selector not in {_CERTIFICATE, _KEY}:
        return f"selector {record.selector} is unknown"
    if record.matching == _WHOLE:
        return "" if _is_whole(record) else "its data is neither a certificate nor a key as its selector says"
    if record.matching not in _DIGESTS:
        return f"matching type {record.matching} is unknown"
    if len(record.data) != _DIGESTS[record.matching]:
        return f"its digest has {len(record.data)} octets, not {_DIGESTS[record.matching]}"
    return ""


async def _host(resolver: Resolver, name: str, port: int) -> _Host:
    if is_address(name):
        return _Host(f"{name} is an IP address: it has no TLSA records", _DAY)
    try:
        addresses = await resolver.addresses(name)
        if not addresses.values:
            return _Host(f"{name} has no address: no mail can go there", addresses.seconds, absent=True)
        bases = await _bases(resolver, name, addresses)
        if not bases:
            step = f"{name}: its addresses are not validated by DNSSEC, so no TLSA records are asked for"
            return _Host(step, addresses.seconds)
        return await _at(resolver, name, [f"_{port}._tcp.{base}" for base in bases], addresses.seconds)
    except LookUpFailed as error:
        return _Host(f"{name}: unknown: {error}", 0, unknown=True)


async def _bases(resolver: Resolver, name: str, addresses: Records[IpAddress]) -> tuple[str, ...]:
    """Give the names below which TLSA records may stand, the one to be asked first (RFC 7672 section 2.2.2)."""
    if addresses.secure:
        return tuple(dict.fromkeys((addresses.name, name)))
    leads_out = addresses.name != name and (await resolver.alias(name)).secure
    return (name,) if leads_out else ()


async def _at(resolver: Resolver, host: str, names: list[str], seconds: int) -> _Host:
    """Judge the TLSA records of the first name that has validated ones."""
    for name in names:
        found = await resolver.tlsa(name)
        seconds = min(seconds, found.seconds)
        if found.values and found.secure:
            return _records(host, name, found.values, seconds)
    return _Host(f"{host}: no TLSA records that are validated by DNSSEC at {' or '.join(names)}", seconds)


def _records(host: str, name: str, records: tuple[Tlsa, ...], seconds: int) -> _Host:
    faults = [fault(record) for record in records]
    usable = faults.count("")
    unusable = "".join(f"; unusable: {text}" for text in dict.fromkeys(faults) if text)
    if usable:
        step = f"{host}: {usable} usable of {len(records)} TLSA records at {name}{unusable}"
        return _Host(step, seconds, usable=True)
    return _Host(f"{host}: no TLSA record at {name} is usable, so nobody can be told apart{unusable}", seconds)


def _is_whole(record: Tlsa) -> bool:
    """Tell whether the data is what the selector says; what cannot be read matches nothing in a TLS library."""
    try:
        if record.selector == _CERTIFICATE:
            load_der_x509_certificate(record.data).public_key()
        else:
            load_der_public_key(record.data)
    except Exception:  # noqa: BLE001 - hostile data; the library names no base of its errors
        return False
    return True
