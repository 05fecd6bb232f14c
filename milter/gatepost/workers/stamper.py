"""
The stamper: a thread of the key worker that stamps the events of this host's chains, about a second after they
were written.

Nobody waits for it. While the key worker or the database is down, events wait unstamped and mail goes on. Where
the latest stamp is none that it made, or an earlier one than that, it says so once and goes on behind what it
knows: the audit then names what is missing.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from gatepost.crypto.proof import Prover
from gatepost.directory.audit import Place
from gatepost.directory.stamp import NOTHING, Stamp
from gatepost.errors import cause
from gatepost.log import logger
from gatepost.workers.heads import Head, Heads

_SECONDS = 1.0
_RUN = 1000  # events of one stamp
_PURGED_AT_ONCE = 50  # stamps


class StampStore(Protocol):
    """The tables of events and stamps. Thread-safe; raises StorageError."""

    def hosts(self) -> tuple[str, ...]:
        """Give the hosts that have stamps."""

    def newest(self, host: str) -> Stamp | None:
        """Give the stamp of the highest number."""

    def unstamped(self, host: str, after: int, most: int) -> tuple[Place, ...]:
        """Give the events of the next run without a gap, beyond a sequence."""

    def add(self, one: Stamp) -> None:
        """Write a stamp; raises DirectoryError if its number is taken."""

    def over(self, host: str, before: datetime, most: int) -> int:
        """Give the number of the last of the earliest stamps, at most so many, that were made before; or 0."""

    def purge(self, record: Stamp) -> int:
        """Delete every stamp up to `record.purged` with its events, and add the record; gives how many events."""

    def purge_unchained(self, before: datetime) -> int:
        """Delete the old among the events that are older than stamps; gives how many."""


class Stamper:
    """Stamps the events of one host's chains, and deletes old ones of all hosts. Thread-safe."""

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        store: StampStore,
        prover: Prover,
        heads: Heads,
        keep: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the names of this host's chains, and how long events are kept."""
        self._hosts = tuple(hosts)
        self._store = store
        self._prover = prover
        self._heads = heads
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._told = False

    def stamp(self) -> int:
        """Stamp what there is, and give how many events; raises StorageError, DirectoryError."""
        return sum(map(self._stamp, self._hosts))

    def _stamp(self, host: str) -> int:
        number = 0
        with self._lock:
            tip = self._tip(host)
            while run := self._store.unstamped(host, tip.last, _RUN):
                tip = self._add(
                    replace(
                        tip,
                        first=run[0].sequence,
                        last=run[-1].sequence,
                        digests=b"".join(one.digest for one in run),
                    ),
                    self._store.add,
                )
                number += len(run)
        return number

    def purge(self) -> int:
        """Delete the events stamped longer ago than they are kept, and give how many; raises StorageError."""
        before = self._clock() - self._keep
        gone = self._store.purge_unchained(before)
        for host in self._store.hosts():
            while number := self._store.over(host, before, _PURGED_AT_ONCE):
                gone += self._purge(host, number)
        return gone

    def _purge(self, host: str, number: int) -> int:
        gone = 0

        def delete(record: Stamp) -> None:
            nonlocal gone
            gone = self._store.purge(record)

        with self._lock:
            tip = self._tip(host)
            self._add(replace(tip, first=tip.last + 1, digests=b"", purged=number), delete)
        return gone

    def _add(self, draft: Stamp, write: Callable[[Stamp], None]) -> Stamp:
        """Make the stamp after `draft.number` and write it; gives it as the next one's draft."""
        stamp = replace(draft, number=draft.number + 1, at=self._clock(), previous=draft.code, code=b"")
        stamp = replace(stamp, code=self._prover.code(stamp.statement()))
        write(stamp)
        self._heads.advance(stamp.host, Head(stamp.number, stamp.last, stamp.code))
        return replace(stamp, purged=0)

    def _tip(self, host: str) -> Stamp:
        """Give what the next stamp follows: the latest that is known, and how far the stamps reach."""
        newest = self._store.newest(host)
        head = self._heads.of(host) or Head(0, 0, NOTHING)
        if newest is None:
            newest = Stamp(host, 0, self._clock(), 1, 0, b"", NOTHING, code=NOTHING)
        elif not self._prover.proves(newest.statement(), newest.code):
            self._tell()
            number = max(newest.number, head.number)
            return replace(newest, number=number, last=head.last, code=head.code, purged=0)
        if newest.number >= head.number:
            return replace(newest, purged=0)
        self._tell()
        return replace(newest, number=head.number, code=head.code, purged=0)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            logger.error("the record of events was tampered with, or is a backup's: run gatepost audit verify")


class Stamping:
    """Runs a stamper in a thread of its own until it is closed."""

    def __init__(self, stamper: Stamper, seconds: float = _SECONDS) -> None:
        self._stamper = stamper
        self._seconds = seconds
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="stamper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stamp what is left, then end."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(self._seconds)
            try:
                self._stamper.stamp()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next try may succeed
                if not self._failing:
                    logger.warning("events wait to be stamped", cause=cause(error))
                self._failing = True
            else:
                self._failing = False
