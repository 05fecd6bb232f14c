"""
What DNS and the web say of one next hop: its mail hosts, DANE, MTA-STS.

The look-ups run beside each other under one deadline; what did not come in time is unknown, and unknown is kept
only for a moment, so that a dead resolver is not hammered and a live one is believed soon. MTA-STS is a matter of
domains: a host in brackets has none, an IP address has neither.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gatepost.errors import cause
from gatepost.log import logger
from gatepost.transport import hop as hops
from gatepost.transport.capability import Discovery, Method
from gatepost.transport.hop import Hop
from gatepost.transport.resolver import LookUpFailed

UNKNOWN_SECONDS = 30
LEAST_SECONDS = 30  # a TTL of 0 would have every message ask again
MOST_SECONDS = 86_400
MOST_AT_ONCE = 100

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class MailHosts:
    """
    The mail hosts of a next hop, best first; none: it takes no mail.

    `secure` tells that the answer that names them was validated; `seconds` is how long it may be kept.
    """

    names: tuple[str, ...]
    secure: bool
    seconds: int
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one way to assure TLS says, and how long that may be kept."""

    method: Method
    seconds: int


class LookUps(Protocol):
    """The look-ups of one next hop. Each may raise LookUpFailed."""

    async def mail_hosts(self, hop: Hop) -> MailHosts:
        """Give the mail hosts: by MX, or the host in brackets itself."""

    async def dane(self, hop: Hop, hosts: MailHosts) -> Finding:
        """Tell whether DANE assures TLS to every mail host."""

    async def sts(self, domain: str, hosts: asyncio.Future[MailHosts]) -> Finding:
        """
        Tell whether the domain's MTA-STS policy assures TLS to the hosts, which are being looked up meanwhile.

        Who waits for them shields them from being cancelled.
        """


class Discoverer:
    """Looks next hops up, for one event loop; equal questions that are under way are asked once."""

    def __init__(self, look_ups: LookUps, *, timeout: float, most: int = MOST_AT_ONCE) -> None:
        """Take the seconds that one next hop may take, and how many may be looked up at one time."""
        self._look_ups = look_ups
        self._timeout = timeout
        self._turns = asyncio.Semaphore(most)
        self._under_way: dict[str, asyncio.Task[Discovery]] = {}

    async def discover(self, hop: str) -> Discovery:
        """Give what is said of a next hop, as Postfix names it; never raises, what fails is `unknown`."""
        task = self._under_way.get(hop)
        if task is None:
            task = asyncio.create_task(self._discover(hop))
            self._under_way[hop] = task
            task.add_done_callback(lambda _: self._under_way.pop(hop, None))
        return await asyncio.shield(task)  # who gives up takes nobody's answer away

    async def _discover(self, hop: str) -> Discovery:
        try:
            read = hops.read(hop)
        except ValueError as error:
            return _nothing(hop, str(error))
        if read.is_address:
            return _nothing(hop, f"{read.name} is an IP address: neither DANE nor MTA-STS speaks of it")
        deadline = asyncio.get_running_loop().time() + self._timeout
        looked_up = asyncio.create_task(
            self._in_time(lambda: self._look_ups.mail_hosts(read), f"the mail hosts of {read.name}", deadline)
        )
        sts = asyncio.create_task(self._sts(read, looked_up, deadline))  # after the hosts: it may wait for them
        try:
            hosts = await looked_up
        except LookUpFailed as error:
            return _together(hop, MailHosts((), False, UNKNOWN_SECONDS, (str(error),)), _unknown(()), await sts)
        return _together(hop, hosts, await self._dane(read, hosts, deadline), await sts)

    async def _dane(self, hop: Hop, hosts: MailHosts, deadline: float) -> Finding:
        if not hosts.names:
            return Finding(Method(assured=False), hosts.seconds)
        try:
            return await self._in_time(lambda: self._look_ups.dane(hop, hosts), f"DANE of {hop.name}", deadline)
        except LookUpFailed as error:
            return _unknown((str(error),))

    async def _sts(self, hop: Hop, hosts: asyncio.Task[MailHosts], deadline: float) -> Finding:
        if hop.direct:
            return Finding(
                Method(assured=False, steps=("MTA-STS is for domains, not for single hosts",)), MOST_SECONDS
            )
        try:
            # Shielded: who waits for the hosts and gives up must not take them away from the others.
            return await self._in_time(
                lambda: self._look_ups.sts(hop.name, asyncio.shield(hosts)), f"MTA-STS of {hop.name}", deadline
            )
        except LookUpFailed as error:
            return _unknown((str(error),))

    async def _in_time(self, look_up: Callable[[], Awaitable[Answer]], what: str, deadline: float) -> Answer:
        """Wait for a look-up until the deadline; raises LookUpFailed, whatever went wrong."""
        try:
            async with asyncio.timeout_at(deadline), self._turns:
                return await look_up()
        except TimeoutError:
            raise LookUpFailed(f"{what}: no answer within {self._timeout:g} s") from None
        except LookUpFailed as error:
            raise LookUpFailed(f"{what}: {error}") from error
        except Exception as error:
            logger.error("a look-up broke", what=what, cause=cause(error))
            raise LookUpFailed(f"{what}: the look-up failed; see the log") from error


def _nothing(hop: str, step: str) -> Discovery:
    none = Method(assured=False)
    return Discovery(hop, (), none, none, (step,), MOST_SECONDS)


def _unknown(steps: tuple[str, ...]) -> Finding:
    return Finding(Method(assured=False, unknown=True, steps=steps), UNKNOWN_SECONDS)


def _together(hop: str, hosts: MailHosts, dane: Finding, sts: Finding) -> Discovery:
    least = min(hosts.seconds, dane.seconds, sts.seconds)
    if dane.method.unknown or sts.method.unknown:
        least = UNKNOWN_SECONDS
    seconds = min(max(least, LEAST_SECONDS), MOST_SECONDS)
    return Discovery(hop, hosts.names, dane.method, sts.method, hosts.steps, seconds)
