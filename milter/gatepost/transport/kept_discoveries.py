"""
Discoveries kept for every host of the site, and the cache that asks them before it asks DNS.

The cache only saves time: while it cannot be read or written, every question is looked up live. A discovery is
kept as JSON; a row that cannot be read, or that tells of more than DNS and the web can assure, counts as absent.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from gatepost.errors import GatepostError, cause
from gatepost.log import logger
from gatepost.transport import policy_line
from gatepost.transport.assurance import Discoverers
from gatepost.transport.capability import Discovery, Method

_STORE_SECONDS = 1.0
_THREADS = 4

Value = TypeVar("Value")


class KeptDiscoveries(Protocol):
    """Keeps one discovery a next hop. Thread-safe and blocking; raises StorageError."""

    def find(self, hop: str, now: datetime) -> Discovery | None:
        """Give what is kept and not over, with the seconds that are left of it, or None."""

    def keep(self, found: Discovery, now: datetime) -> None:
        """Keep a discovery for as long as it says, in place of the former one."""


def _now() -> datetime:
    return datetime.now(UTC)


class KeptDiscoverer:
    """Gives what is kept, else looks up and keeps it; implements the port `Discoverers`."""

    def __init__(self, live: Discoverers, kept: KeptDiscoveries, *, clock: Callable[[], datetime] = _now) -> None:
        self._live = live
        self._kept = kept
        self._clock = clock
        self._writings: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_THREADS, "discoveries")

    async def discover(self, hop: str) -> Discovery:
        """Give what is said of a next hop; never raises, what fails is `unknown`."""
        kept = await self._ask(lambda: self._kept.find(hop, self._clock()))
        return kept if kept is not None else await self.refresh(hop)

    async def refresh(self, hop: str) -> Discovery:
        """
        Look a next hop up live, and keep what is found; the answer does not wait for that.

        What is unknown now takes the place of nothing that is known and not over yet.
        """
        found = await self._live.discover(hop)
        if found.unknown:
            kept = await self._ask(lambda: self._kept.find(hop, self._clock()))
            if kept is not None and not kept.unknown:
                return kept
        writing = asyncio.create_task(self._ask(lambda: self._kept.keep(found, self._clock())))
        self._writings.add(writing)  # the loop itself keeps no task alive
        writing.add_done_callback(self._writings.discard)
        return found

    async def _ask(self, question: Callable[[], Value]) -> Value | None:
        """Ask the database, but not for long; None if it fails."""
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        except (TimeoutError, GatepostError) as error:
            told = cause(error) if isinstance(error, GatepostError) else f"no answer within {_STORE_SECONDS:g} s"
            logger.warning("the cache of look-ups does not answer", cause=told)
            return None


class OnlyKept:
    """Gives what is kept, and looks nothing up; implements the port `Discoverers`."""

    def __init__(self, kept: KeptDiscoveries, *, clock: Callable[[], datetime] = _now) -> None:
        self._kept = kept
        self._clock = clock

    async def discover(self, hop: str) -> Discovery:
        """Give what is kept of a next hop; what is not kept is `unknown`. Raises StorageError."""
        found = self._kept.find(hop, self._clock())
        unknown = Method(assured=False, unknown=True)
        told = f"nothing is kept of {hop} now: it is looked up when mail goes there"
        return found if found is not None else Discovery(hop, (), unknown, unknown, (told,), 0)


def to_text(found: Discovery) -> str:
    """Write a discovery, all but its next hop and its seconds, as JSON in ASCII."""
    values = asdict(found)
    del values["hop"], values["seconds"]
    return json.dumps(values)


def from_text(hop: str, text: str, seconds: int) -> Discovery:
    """Read what `to_text` wrote; raises ValueError for anything else."""
    try:
        values: dict[str, Any] = json.loads(text)
        return Discovery(
            hop=hop,
            hosts=_texts(values["hosts"]),
            dane=_method(values["dane"], "dane-only"),
            sts=_method(values["sts"], "secure"),
            steps=_texts(values["steps"]),
            seconds=seconds,
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it holds no discovery ({type(error).__name__})") from error


def _method(values: dict[str, Any], level: str) -> Method:
    """Read a method; raises ValueError or TypeError for one whose parts do not go together."""
    method = Method(**values | {"steps": _texts(values["steps"])})
    if not isinstance(method.assured, bool) or not isinstance(method.unknown, bool):
        raise TypeError("assured and unknown are true or false")
    if not isinstance(method.policy, str):
        raise TypeError("a policy is text")
    line = policy_line.read(method.policy) if method.policy else None
    if method.assured and (method.unknown or line is None or line.level != level):
        raise ValueError(f"it claims that a policy assures TLS which is none: {method.policy!r}")
    if method.policy and not method.assured:
        raise ValueError("it has a policy, and assures nothing")
    return method


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise TypeError("a list of texts is none")
    return tuple(values)
