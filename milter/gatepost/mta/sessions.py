"""
Sessions with the mail server, bounded in number, and messages under way, counted so that a stop can wait for them.
"""

import threading


class Sessions:
    """Counts sessions and messages. Thread-safe."""

    def __init__(self, most: int) -> None:
        """Take how many sessions there may be at one time."""
        self._most = most
        self._open = 0
        self._busy = 0
        self._idle = threading.Condition()

    def open(self) -> bool:
        """Note that a session begins; False, and nothing noted, where there are too many."""
        with self._idle:
            if self._open >= self._most:
                return False
            self._open += 1
            return True

    def close(self) -> None:
        """Note that a session has ended."""
        with self._idle:
            self._open -= 1

    def enter(self) -> None:
        """Note that a message is being processed."""
        with self._idle:
            self._busy += 1

    def leave(self) -> None:
        """Note that its verdict was given."""
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    @property
    def busy(self) -> int:
        """The number of messages being processed."""
        with self._idle:
            return self._busy

    def state(self) -> dict[str, float]:
        """Give how many sessions are open, and in how many a message is being processed."""
        with self._idle:
            return {"open": self._open, "busy": self._busy}

    def drain(self, seconds: float) -> int:
        """Wait until no message is being processed; give how many still were when time was up."""
        with self._idle:
            self._idle.wait_for(lambda: self._busy == 0, timeout=seconds)
            return self._busy
