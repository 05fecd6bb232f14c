"""
The look-ups of one next hop on the network: mail hosts, DANE and MTA-STS from one resolver.
"""

import asyncio

from gatepost.transport import dane
from gatepost.transport.discovery import Finding, MailHosts
from gatepost.transport.hop import Hop
from gatepost.transport.mx import find_hosts
from gatepost.transport.resolver import Resolver
from gatepost.transport.sts_policy import StsPolicies


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
