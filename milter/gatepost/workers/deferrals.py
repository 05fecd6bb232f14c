"""
A thread of the milter that looks now and again whether senders must be told that their mail waits.

The milter has what a notice needs: the client certificate, the aliases, the log of notices. The service that reads
the mail server's log, where strangers' words stand, has none of it.
"""

import threading
from collections.abc import Callable

from gatepost.errors import cause
from gatepost.log import logger

_SECONDS = 10.0


class Deferrals:
    """Calls `tell` in a thread of its own until it is closed; what fails is tried again."""

    def __init__(self, tell: Callable[[], int], seconds: float = _SECONDS) -> None:
        self._tell = tell
        self._seconds = seconds
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="deferrals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a notice under way is sent."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._tell()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next try may succeed
                if not self._failing:
                    logger.warning("senders of deferred mail wait to be told", cause=cause(error))
                self._failing = True
            else:
                self._failing = False
