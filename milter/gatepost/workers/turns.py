"""
A thread that does something now and again, such as to look whether somebody must be told by mail.

The milter has what a notice needs: the client certificate, the aliases, the log of notices. The service that reads
the mail server's log, where strangers' words stand, has none of it.
"""

import threading
from collections.abc import Callable

from gatepost.errors import cause


class Turns:
    """Calls `act` in a thread of its own until it is closed; what fails is tried again at the next turn."""

    def __init__(
        self, act: Callable[[], object], failed: Callable[[str], object], seconds: float, first: float = 0.0
    ) -> None:
        """
        Take what is done, what is called with the cause when that fails anew, the seconds between two turns, and
        those before the first one, if these are others.
        """
        self._act = act
        self._failed = failed
        self._seconds = seconds
        self._first = first or seconds
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a turn under way is finished."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        seconds = self._first
        while not self._ended.wait(seconds):
            seconds = self._seconds
            try:
                self._act()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next try may succeed
                if not self._failing:
                    self._failed(cause(error))
                self._failing = True
            else:
                self._failing = False
