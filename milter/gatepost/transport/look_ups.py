"""
The look-ups of one next hop on the network: mail hosts, DANE and MTA-STS, from one resolver; a knock at the hosts.
"""

import asyncio
from collections.abc import Sequence

from gatepost.transport import dane
from gatepost.transport.discovery import Finding, MailHosts
from gatepost.transport.hop import Hop
from gatepost.transport.mx import find_hosts
from gatepost.transport.probe import probe
from gatepost.transport.resolver import LookUpFailed, Resolver
from gatepost.transport.sts_fetch import Targets
from gatepost.transport.sts_policy import StsPolicies

_MOST_HOSTS = 10


class NetworkLookUps:
    """Implements the port `LookUps`, for one event loop."""

    def __init__(self, resolver: Resolver, policies: StsPolicies) -> None:
        self._resolver = resolver
        self._policies = policies
        self._refreshes: set[asyncio.Task[None]] = set()

    async def mail_hosts(self, hop: Hop) -> MailHosts:
        """Give the mail hosts of a next hop."""
        return await find_hosts(self._resolver, hop)

    async def dane(self, hop: Hop, hosts: MailHosts) -> Finding:
        """Tell whether DANE assures TLS to every mail host."""
        return await dane.judge(self._resolver, hop, hosts)

    async def sts(self, domain: str, hosts: asyncio.Future[MailHosts]) -> Finding:
        """Tell whether the domain's MTA-STS policy assures TLS; one that grows old is fetched anew meanwhile."""
        found = await self._policies.judge(domain, hosts)
        refresh = asyncio.create_task(self._policies.refresh(domain))
        self._refreshes.add(refresh)  # the loop itself keeps no task alive
        refresh.add_done_callback(self._refreshes.discard)
        return found


class NetworkProbes:
    """Knocks at mail hosts; implements the port `Probes`."""

    def __init__(self, resolver: Resolver, targets: Targets, *, hello: str, seconds: float, ca_file: str) -> None:
        """Take which addresses may be connected to, our name for EHLO, and the seconds that each host has."""
        self._resolver = resolver
        self._targets = targets
        self._hello = hello
        self._seconds = seconds
        self._ca_file = ca_file

    async def probe(self, hosts: Sequence[str], port: int) -> tuple[str, ...]:
        """Give a line or more for each of the first few hosts."""
        told = await asyncio.gather(*(self._probe(host, port) for host in hosts[:_MOST_HOSTS]))
        return tuple(line for lines in told for line in lines)

    async def _probe(self, host: str, port: int) -> tuple[str, ...]:
        try:
            addresses = self._targets((await self._resolver.addresses(host)).values)
        except LookUpFailed as error:
            return (f"{host}: {error}",)
        found = await probe(host, addresses, port, hello=self._hello, seconds=self._seconds, ca_file=self._ca_file)
        return tuple(f"{host}: {step}" for step in found.steps)
