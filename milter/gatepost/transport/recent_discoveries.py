"""
What DNS and the web said of the next hops in use, kept in memory and looked up again before it is over.

A next hop that was asked for since its last look-up gets the next one in the background, at a random moment in
the last quarter of its time, so that mail in flow waits for no DNS and several hosts do not ask at one moment:
what another host has found meanwhile is taken instead. What nobody asked for is left to end.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol

from gatepost.errors import cause
from gatepost.log import logger
from gatepost.transport.capability import Discovery

_ENTRIES = 5000
_EARLIEST, _LATEST = 0.75, 0.95  # of its time
_LEAST_PAUSE = 5.0  # seconds between two look-ups of one next hop
_AT_A_TIME = 10  # look-ups in the background


class Refresher(Protocol):
    """Looks next hops up, from what the site's hosts share or live. Never raises."""

    async def discover(self, hop: str) -> Discovery:
        """Give what is kept, with the seconds that are left of it, else look it up."""

    async def refresh(self, hop: str) -> Discovery:
        """Look it up live, and keep it."""


@dataclass(eq=False, slots=True)
class _Entry:
    """One discovery, when it is over by the loop's clock, and whether it was asked for since it was looked up."""

    found: Discovery
    until: float
    timer: asyncio.TimerHandle | None = None
    asked: bool = False


class RecentDiscoveries:
    """Implements the port `Discoverers`, for one event loop."""

    def __init__(self, behind: Refresher, *, entries: int = _ENTRIES) -> None:
        self._behind = behind
        self._most = entries
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    async def discover(self, hop: str) -> Discovery:
        """Give what is said of a next hop; never raises, what fails is `unknown`."""
        entry = self._entries.get(hop)
        if entry is None or entry.until <= asyncio.get_running_loop().time():
            found = await self._behind.discover(hop)
            self._remember(hop, found)
            return found
        entry.asked = True
        self._entries[hop] = self._entries.pop(hop)  # the first is the one not asked for the longest
        return entry.found

    def _remember(self, hop: str, found: Discovery) -> None:
        loop = asyncio.get_running_loop()
        self._forget(hop)
        entry = _Entry(found, loop.time() + found.seconds)
        self._entries[hop] = entry
        moment = random.uniform(_EARLIEST, _LATEST)  # noqa: S311 - it spreads load, it guards nothing
        pause = max(found.seconds * moment, _LEAST_PAUSE)
        if pause < found.seconds:
            entry.timer = loop.call_later(pause, self._renew, hop, entry)
        if len(self._entries) > self._most:
            self._forget(next(iter(self._entries)))

    def _forget(self, hop: str) -> None:
        entry = self._entries.pop(hop, None)
        if entry is not None and entry.timer is not None:
            entry.timer.cancel()

    def _renew(self, hop: str, entry: _Entry) -> None:
        """Begin to look up again what is in use."""
        if entry.asked:
            task = asyncio.get_running_loop().create_task(self._look_up_again(hop, entry))
            self._tasks.add(task)  # the loop itself keeps no task alive
            task.add_done_callback(self._ended)

    async def _look_up_again(self, hop: str, entry: _Entry) -> None:
        async with self._turns:
            found = await self._behind.discover(hop)
            left = entry.until - asyncio.get_running_loop().time()
            if (
                found.seconds <= left + 1
            ):  # it is the one that is here; what the database keeps counts whole seconds
                found = await self._behind.refresh(hop)
        if self._entries.get(hop) is entry:
            self._remember(hop, found)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a look-up in the background failed", cause=cause(error))
