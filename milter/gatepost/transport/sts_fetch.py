"""
Fetching MTA-STS policies (RFC 8461 section 3.3), and keeping what was good.

Rules:
  * A domain is fetched from once at a time, whoever asks.
  * A slow host has half a minute. Who asked may stop waiting; the fetch goes on, and a later question finds the
    policy kept.
  * After a failure the host is left alone for five minutes, unless the id has changed.
  * Only a policy that can be read takes the place of the kept one.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gatepost.errors import StorageError, cause
from gatepost.log import logger
from gatepost.transport.kept_policies import KeptPolicies, KeptPolicy
from gatepost.transport.mta_sts import MAX_SIZE, StsError, read_policy
from gatepost.transport.resolver import IpAddress, LookUpFailed, Resolver

PATH = "/.well-known/mta-sts.txt"
LEFT_ALONE = 300
"""Seconds after a failure."""
_MOST_SECONDS = 30.0
_MOST_FAULTS = 10_000

Targets = Callable[[Sequence[IpAddress]], Sequence[IpAddress]]
"""Gives those of a host's addresses that may be fetched from; may raise LookUpFailed."""


class Web(Protocol):
    """Fetches text files."""

    async def get(
        self, host: str, path: str, addresses: Sequence[IpAddress], *, seconds: float, most: int
    ) -> bytes:
        """Fetch `https://HOST/PATH` from one of the addresses; raises LookUpFailed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no policy could be fetched; until `until`, on the monotonic clock, the host is left alone."""

    text: str
    until: float


class PolicyFetches:
    """The fetches that are under way, for one event loop."""

    def __init__(
        self,
        resolver: Resolver,
        web: Web,
        kept: KeptPolicies,
        targets: Targets,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._web = web
        self._kept = kept
        self._targets = targets
        self._clock = clock
        self._monotonic = monotonic
        self._under_way: dict[str, asyncio.Task[KeptPolicy | Fault]] = {}
        self._faults: dict[tuple[str, str], Fault] = {}

    async def fetch(self, domain: str, identity: str, seconds: float) -> KeptPolicy | Fault | None:
        """
        Fetch a domain's policy, which DNS names by this id, and keep it.

        Gives None if that takes longer than `seconds`; it then goes on by itself. Never raises.
        """
        fault = self._faults.get((domain, identity))
        if fault is not None and self._monotonic() < fault.until:
            return fault
        task = self._under_way.get(domain)
        if task is None:
            task = asyncio.create_task(self._fetch(domain, identity))
            self._under_way[domain] = task
            task.add_done_callback(lambda _: self._under_way.pop(domain, None))
        done, _ = await asyncio.wait({task}, timeout=seconds)
        return task.result() if done else None

    async def _fetch(self, domain: str, identity: str) -> KeptPolicy | Fault:
        try:
            file = await self._file(domain)
            policy = read_policy(file)
        except (LookUpFailed, StsError) as error:
            return self._failed(domain, identity, str(error))
        except Exception as error:  # noqa: BLE001 - no other question may suffer from this one
            logger.error("a fetch broke", domain=domain, cause=cause(error))
            return self._failed(domain, identity, "the fetch failed; see the log of the policy service")
        fetched = KeptPolicy(domain, identity, file.decode(), self._clock(), policy.max_age)
        try:
            await asyncio.to_thread(self._kept.put, fetched)
        except StorageError as error:
            logger.warning("a policy could not be kept", domain=domain, cause=cause(error))
        return fetched

    async def _file(self, domain: str) -> bytes:
        host = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                addresses = await self._resolver.addresses(host)
                allowed = self._targets(addresses.values)
                return await self._web.get(host, PATH, allowed, seconds=_MOST_SECONDS, most=MAX_SIZE)
        except TimeoutError:
            raise LookUpFailed(f"https://{host}{PATH}: no complete answer within {_MOST_SECONDS:g} s") from None

    def _failed(self, domain: str, identity: str, text: str) -> Fault:
        fault = Fault(text, self._monotonic() + LEFT_ALONE)
        self._faults[domain, identity] = fault
        while len(self._faults) > _MOST_FAULTS:
            del self._faults[next(iter(self._faults))]
        return fault
