"""
Postfix's log as the gateway reads it: deliveries in order, and the place after them.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gatepost.gateway.delivery import Delivery
from gatepost.mta.postfix.log_file import LogFile
from gatepost.mta.postfix.log_journal import LogJournal
from gatepost.mta.postfix.log_line import LogReader, line_of

JOURNAL = "journal"


class DeliveryLog:
    """Reads a log file or the journal; an implementation of `gateway.following.Log`. For one thread alone."""

    def __init__(self, log: str, *, name: str, owner: int | None, clock: Callable[[], float] = time.time) -> None:
        """Take the log's path or `journal`, Postfix's `syslog_name`, and the number of Postfix's user."""
        self._log = log
        self._name = name
        self._owner = owner
        self._clock = clock
        self._source: LogFile | LogJournal | None = None
        self._reader = LogReader(name)

    def begin(self, place: str) -> None:
        """Go on from a place; an empty one is the end of what is there."""
        self.close()
        known = _known(place)
        if known.get("log") != self._log:
            known = {}  # the admin has named another
        self._reader = LogReader(self._name, known.get("sessions", ()))
        where = known.get("where")
        if self._log == JOURNAL:
            self._source = LogJournal(self._owner, where)
        else:
            self._source = LogFile(Path(self._log), where)

    def read(self) -> Sequence[Delivery]:
        """Give the deliveries that were logged since; raises LogError."""
        if self._source is None:
            raise RuntimeError("a log is read from a place that was given")
        if isinstance(self._source, LogJournal):
            lines = self._source.read()
        else:
            now = self._clock()
            lines = [line for octets in self._source.read() if (line := line_of(octets, now)) is not None]
        return [delivery for line in lines if (delivery := self._reader.read(line)) is not None]

    @property
    def place(self) -> str:
        """Where the next reading begins."""
        where = None if self._source is None else self._source.place
        return json.dumps({"log": self._log, "where": where, "sessions": self._reader.remembered()})

    def close(self) -> None:
        """Let the log go."""
        if self._source is not None:
            self._source.close()


def _known(place: str) -> dict[str, Any]:
    try:
        found = json.loads(place or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
