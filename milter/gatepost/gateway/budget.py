"""
The time that one message may take, and the sign of life that the mail server gets while it does.

Postfix restarts its content timeout at every sign of life; the sending client gives up at last, so the budget
is bounded whatever is going on (Postfix MILTER_README; RFC 5321 section 4.5.3.2).
"""

import time
from collections.abc import Callable

from gatepost.errors import WorkerError

_SIGN_EVERY = 5.0  # seconds: Sendmail waits 10 s for any reply


class Budget:
    """
    A deadline in seconds from now; `keepalive` is called about every 5 s of waiting, `aside` before it begins.
    """

    __slots__ = ("_aside", "_deadline", "_keepalive", "_next_sign")

    def __init__(
        self, seconds: float, keepalive: Callable[[], object], aside: Callable[[], object] = lambda: None
    ) -> None:
        now = time.monotonic()
        self._deadline = now + seconds
        self._next_sign = now + _SIGN_EVERY
        self._keepalive = keepalive
        self._aside = aside

    def left(self) -> float:
        """Give the seconds left; raises WorkerError when there are none."""
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise WorkerError("the message took longer than [gateway] max_seconds allows")
        return seconds

    def for_waiting(self) -> float:
        """Give the seconds left to what is waited for, other messages going on meanwhile; raises WorkerError."""
        self._aside()
        return self.left()

    def wait(self) -> None:
        """Let other messages go on, and tick: called before something is waited for, and meanwhile."""
        self._aside()
        self.tick()

    def tick(self) -> None:
        """Give a sign of life if one is due; raises WorkerError when the time is up."""
        self.left()
        now = time.monotonic()
        if now >= self._next_sign:
            self._next_sign = now + _SIGN_EVERY
            self._keepalive()
