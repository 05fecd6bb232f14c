"""
Messages under way: counted, so that a stop can wait for them.
"""

import threading


class Sessions:
    """Counts messages being processed, so that a stop can wait for them."""

    def __init__(self) -> None:
        self._busy = 0
        self._idle = threading.Condition()

    def enter(self) -> None:
        """Note that a message is being processed."""
        with self._idle:
            self._busy += 1

    def leave(self) -> None:
        """Note that its verdict was given."""
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def drain(self, seconds: float) -> int:
        """Wait until no message is being processed; give how many still were when time was up."""
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, timeout=seconds)
            return self._busy
