"""
Asks DNS: a stub resolver for the resolvers that the settings or resolv.conf(5) name.

Rules:
  * Each question carries EDNS with DO; a truncated answer is fetched again over TCP.
  * `secure` needs the AD bit from a resolver on a loopback address: on any other path the bit could be forged
    (RFC 4035 section 4.9.3). Where such a resolver is named, no other is asked: while it is down, an answer that
    nobody vouches for must not pass for "this zone is not signed".
  * Every resolver is asked twice within one deadline, unless it said no.
  * NXDOMAIN and NODATA are answers, kept as long as the SOA record says (RFC 2308). SERVFAIL, REFUSED, referrals,
    CNAMEs without end, answers that cannot be read, and silence are failures.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
from dns.rdatatype import AAAA, CNAME, MX, NS, SOA, TLSA, TXT, A, RdataType

from gatepost.errors import ConfigError
from gatepost.transport.resolver import IpAddress, LookUpFailed, MailHost, Records, Tlsa

_PORT = 53
_PAYLOAD = 1232  # octets of UDP that pass everywhere without fragments
_ROUNDS = 2
_IN_FLIGHT = 100  # questions at a time; each holds a socket
_MOST_RECORDS = 100  # of one type at one name; more is no honest answer
_LONGEST = 86_400  # seconds for which an answer is kept
_LONGEST_NEGATIVE = 3_600  # the same for "there is none"

Value = TypeVar("Value")


class _Unusable(Exception):  # noqa: N818 - it carries what is said of one resolver's answer
    """A resolver gave no answer that can be used; the text says what it gave."""


@dataclass(frozen=True, slots=True)
class _Server:
    address: str
    port: int

    @property
    def loopback(self) -> bool:
        return ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return self.address if self.port == _PORT else f"{self.address}#{self.port}"


class StubResolver:
    """
    The port `Resolver` on the network; use it in one event loop.

    `resolvers` are `address` or `address#port`, none: the system's; `timeout` is the deadline of one question in
    seconds. Raises ConfigError for a resolver that is no address.
    """

    def __init__(self, resolvers: Sequence[str], timeout: float) -> None:
        servers = tuple(map(_server, resolvers)) or _of_the_system()
        self._servers = tuple(server for server in servers if server.loopback) or servers
        self._timeout = timeout
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def mx(self, domain: str) -> Records[MailHost]:
        """Give the MX records of a domain, best preference first."""
        found = await self._look_up(domain, MX, lambda mx: MailHost(mx.preference, _text(mx.exchange)))
        values = tuple(sorted(found.values, key=lambda host: (host.preference, host.name)))
        return Records(found.name, values, found.secure, found.seconds, found.exists)

    async def addresses(self, host: str) -> Records[IpAddress]:
        """Give the A and AAAA records of a host; secure only if both answers were."""
        four, six = await asyncio.gather(
            self._look_up(host, A, lambda record: ip_address(record.address)),
            self._look_up(host, AAAA, lambda record: ip_address(record.address)),
        )
        return Records(
            name=four.name if four.values else six.name,
            values=four.values + six.values,
            secure=four.secure and six.secure,
            seconds=min(four.seconds, six.seconds),
            exists=four.exists or six.exists,
        )

    async def tlsa(self, name: str) -> Records[Tlsa]:
        """Give the TLSA records at a name such as `_25._tcp.HOST`."""
        return await self._look_up(
            name, TLSA, lambda record: Tlsa(record.usage, record.selector, record.mtype, record.cert)
        )

    async def txt(self, name: str) -> Records[bytes]:
        """Give the TXT records at a name, the strings of each joined."""
        return await self._look_up(name, TXT, lambda record: b"".join(record.strings))

    async def alias(self, name: str) -> Records[str]:
        """Give where the CNAME at this very name points."""
        return await self._look_up(name, CNAME, lambda record: _text(record.target))

    async def _look_up(self, name: str, kind: RdataType, read: Callable[[Any], Value]) -> Records[Value]:
        asked = f"{kind.name} records of {name}"
        try:
            question = dns.name.from_text(name) if name.isascii() else None
        except dns.exception.DNSException:
            question = None
        if question is None:
            raise LookUpFailed(f"{asked}: this is no domain name")
        said: dict[str, None] = {}  # in order, each once
        try:
            async with asyncio.timeout(self._timeout), self._in_flight:
                return await self._ask_each(question, kind, read, said)
        except TimeoutError:
            said[f"no usable answer within {self._timeout:g} s"] = None
        except _Unusable:
            pass
        raise LookUpFailed(f"{asked}: {'; '.join(said)}")

    async def _ask_each(
        self, name: dns.name.Name, kind: RdataType, read: Callable[[Any], Value], said: dict[str, None]
    ) -> Records[Value]:
        """Give the first usable answer; adds to `said` what each resolver said instead. Raises _Unusable."""
        patience = self._timeout / (_ROUNDS * len(self._servers))
        answered: set[_Server] = set()
        for server in self._servers * _ROUNDS:
            if server in answered:
                continue
            try:
                response = await _exchange(name, kind, server, patience)
                answered.add(server)
                return _read(response, server, read)
            except (_Unusable, dns.exception.DNSException, OSError, EOFError, ValueError) as error:
                said[f"{server} gave {_what(error)}"] = None
        raise _Unusable


async def _exchange(
    name: dns.name.Name, kind: RdataType, server: _Server, patience: float
) -> dns.message.QueryMessage:
    """Ask one resolver; datagrams that are no answer to this question are passed over."""
    query = dns.message.make_query(name, kind, use_edns=0, ednsflags=dns.flags.DO, payload=_PAYLOAD)
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    backend = dns.asyncbackend.get_backend("asyncio")
    # A connected socket learns at once that nobody listens, and takes nothing from anybody else.
    place = (server.address, server.port)
    connect = backend.make_socket(family, socket.SOCK_DGRAM, 0, None, place)  # type: ignore[no-untyped-call]
    async with await connect as datagrams:
        response, _ = await dns.asyncquery.udp_with_fallback(
            query, server.address, patience, server.port, udp_sock=datagrams, backend=backend, ignore_errors=True
        )
    assert isinstance(response, dns.message.QueryMessage)  # noqa: S101 - what is_response() lets pass
    return response


def _read(response: dns.message.QueryMessage, server: _Server, read: Callable[[Any], Value]) -> Records[Value]:
    rcode = response.rcode()
    if rcode not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        doubt = ", which a bogus DNSSEC chain gives too" if rcode == dns.rcode.SERVFAIL else ""
        raise _Unusable(dns.rcode.to_text(rcode) + doubt)
    chain = response.resolve_chaining()
    found = chain.answer or ()
    if not found and _is_referral(response):
        raise _Unusable("a referral to other servers: it does not look names up for others")
    if len(found) > _MOST_RECORDS:
        raise _Unusable(f"{len(found)} records, more than the {_MOST_RECORDS} that are read")
    return Records(
        name=_text(chain.canonical_name),
        values=tuple(map(read, found)),
        secure=server.loopback and bool(response.flags & dns.flags.AD),
        seconds=max(0, min(chain.minimum_ttl, _LONGEST if found else _LONGEST_NEGATIVE)),
        exists=rcode != dns.rcode.NXDOMAIN,
    )


def _is_referral(response: dns.message.Message) -> bool:
    """Tell a referral from NODATA (RFC 2308 section 2.2)."""
    kinds = {rrset.rdtype for rrset in response.authority}
    return response.rcode() == dns.rcode.NOERROR and NS in kinds and SOA not in kinds


def _what(error: Exception) -> str:
    """Tell in plain words what came instead of a usable answer."""
    if isinstance(error, _Unusable):
        return str(error)
    if isinstance(error, dns.exception.Timeout):
        return "no usable answer in time"
    if isinstance(error, dns.message.ChainTooLong):
        return "CNAMEs without end"
    if isinstance(error, OSError):
        return f"no answer ({error.strerror or type(error).__name__})"
    return "an answer that cannot be read"


def _text(name: dns.name.Name) -> str:
    """Give a name in lower case without the final dot, octets that are no letters escaped; the root is empty."""
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _server(text: str) -> _Server:
    address, mark, port = text.partition("#")
    try:
        return _Server(str(ip_address(address)), int(port) if mark else _PORT)
    except ValueError as error:
        raise ConfigError(f'dns.resolvers: "{text}" is no "address" and no "address#port"') from error


def _of_the_system() -> tuple[_Server, ...]:
    """Give those of resolv.conf(5); without any, the one on this host, as the system's own functions do."""
    try:
        named = dns.resolver.Resolver().nameservers
    except dns.resolver.NoResolverConfiguration:
        named = []
    return tuple(_server(str(name)) for name in named) or (_Server("127.0.0.1", _PORT),)
