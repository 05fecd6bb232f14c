"""
What authorities state, kept until it ends: fetched when first asked for, and again before it ends.

Rules:
  * One question is under way once, whoever asks. Who asked waits no longer than their time; the fetch goes on by
    itself, and a later question finds what it brought.
  * Only what its reader takes is kept, and no longer than the reader says. When most of that time is over, or
    half a day, a question has it fetched again behind the asker's back.
  * After a failure the same is not asked for a minute.
  * How much is kept, and how many fetches are under way, is bounded.
"""

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from gatepost.errors import GatepostError, cause
from gatepost.log import logger
from gatepost.transport.resolver import LookUpFailed

LEFT_ALONE = 60.0
"""Seconds after a failure."""
_AT_ONCE = 16
_MOST_UNDER_WAY = 64
_MOST_OCTETS = 64 << 20
_MOST_ENTRIES = 10_000
_OVERHEAD = 2_000  # octets that an entry takes beside what was fetched
_REFRESHED = 0.9  # of the time that it is kept, and
_REFRESHED_AFTER = timedelta(hours=12)  # at most: many a list ends long after the next one is there

Value = TypeVar("Value")
Name = tuple[str, bytes, bytes]


class Web(Protocol):
    """Fetches what authorities publish."""

    async def fetch(self, url: str, *, posted: bytes, most: int, seconds: float) -> bytes:
        """Fetch or post; raises LookUpFailed."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    octets: int
    refreshed: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class _Fault:
    text: str
    until: float


class KeptStatements:
    """Fetches and keeps; thread-safe. `close` it at the end."""

    def __init__(
        self,
        web: Web,
        *,
        seconds: float,
        octets: int = _MOST_OCTETS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the seconds that one fetch may take, whoever waits, and the octets that are kept."""
        self._web = web
        self._seconds = seconds
        self._most_octets = octets
        self._clock = clock
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(_AT_ONCE, "authorities")
        self._lock = threading.Lock()
        self._kept: OrderedDict[Name, _Kept] = OrderedDict()  # the one not asked for the longest stands first
        self._octets = 0
        self._faults: OrderedDict[Name, _Fault] = OrderedDict()
        self._under_way: dict[Name, Future[Any]] = {}
        self._closed = False

    def close(self) -> None:
        """Begin no more; what is under way ends by its deadline."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def get(
        self,
        url: str,
        read: Callable[[bytes], tuple[Value, datetime]],
        *,
        posted: bytes = b"",
        mark: bytes = b"",
        most: int,
        seconds: float,
    ) -> Value:
        """
        Give what `read` makes of the answer, of at most `most` octets, waiting `seconds` at most.

        `read` gives a value and when it ends, or raises GatepostError; `mark` names all that it depends on beside
        the answer. Raises LookUpFailed.
        """
        name = (url, hashlib.sha256(posted).digest(), mark)
        with self._lock:
            kept = self._find(name)
            if kept is None or kept.refreshed <= self._clock():
                waited = self._begin(name, read, posted, most)
        if kept is not None:
            return kept.value  # type: ignore[no-any-return]
        try:
            return waited.result(max(seconds, 0))
        except (TimeoutError, CancelledError):
            raise LookUpFailed(f"{url}: no complete answer in time") from None

    def _find(self, name: Name) -> _Kept | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        if kept.ends <= self._clock():
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        return kept

    def _begin(
        self, name: Name, read: Callable[[bytes], tuple[Value, datetime]], posted: bytes, most: int
    ) -> Future[Value]:
        """Have it fetched, unless that is under way or failed a moment ago."""
        if (under_way := self._under_way.get(name)) is not None:
            return under_way
        fault = self._faults.get(name)
        refused = fault.text if fault is not None and self._monotonic() < fault.until else ""
        if not refused and len(self._under_way) >= _MOST_UNDER_WAY:
            refused = f"{name[0]}: too many authorities are being asked now"
        if self._closed:
            refused = f"{name[0]}: it is not asked, because the process ends"
        if refused:
            failed: Future[Value] = Future()
            failed.set_exception(LookUpFailed(refused))
            return failed
        begun = self._under_way[name] = self._threads.submit(self._fetch, name, read, posted, most)
        begun.add_done_callback(lambda _: self._under_way.pop(name, None))
        return begun

    def _fetch(
        self, name: Name, read: Callable[[bytes], tuple[Value, datetime]], posted: bytes, most: int
    ) -> Value:
        try:
            data = asyncio.run(self._web.fetch(name[0], posted=posted, most=most, seconds=self._seconds))
            value, ends = read(data)
        except LookUpFailed as error:
            raise self._failed(name, str(error)) from None
        except GatepostError as error:
            raise self._failed(name, f"{name[0]}: {error}") from None
        except Exception as error:  # whoever asked must learn that there is no answer
            logger.error("a look-up broke", what=name[0], cause=cause(error))
            raise self._failed(name, f"{name[0]}: the look-up broke; see the log") from error
        self._keep(name, value, len(data), ends)
        return value

    def _keep(self, name: Name, value: object, octets: int, ends: datetime) -> None:
        now = self._clock()
        with self._lock:
            self._drop(name)
            self._faults.pop(name, None)
            refreshed = now + min((ends - now) * _REFRESHED, _REFRESHED_AFTER)
            self._kept[name] = _Kept(value, octets + _OVERHEAD, refreshed, ends)
            self._octets += octets + _OVERHEAD
            while self._octets > self._most_octets:
                self._drop(next(iter(self._kept)))

    def _drop(self, name: Name) -> None:
        dropped = self._kept.pop(name, None)
        self._octets -= dropped.octets if dropped is not None else 0

    def _failed(self, name: Name, text: str) -> LookUpFailed:
        with self._lock:
            self._faults[name] = _Fault(text, self._monotonic() + LEFT_ALONE)
            while len(self._faults) > _MOST_ENTRIES:
                self._faults.popitem(last=False)
        return LookUpFailed(text)
