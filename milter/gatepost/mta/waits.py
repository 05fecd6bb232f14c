"""
What conversations wait for without a thread: each wait ends once, by what it waits for or by its deadline.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from gatepost.errors import StorageError

_LOOK = 1.0  # seconds between two looks at what waits for too long

Done = Callable[[Exception | None], None]
Whose = TypeVar("Whose")


@dataclass(eq=False, slots=True)
class Wait(Generic[Whose]):
    """What one waits for; over with an `error`, or none."""

    whose: Whose
    until: float
    over: bool = False
    void: bool = False  # it could not be begun
    error: Exception | None = None


class Waits(Generic[Whose]):
    """Keeps all waits. Thread-safe."""

    def __init__(self, ring: Callable[[], None]) -> None:
        """Take what is called when a wait is over and none was before; from any thread."""
        self._ring = ring
        self._lock = threading.Lock()
        self._open: dict[Wait[Whose], None] = {}
        self._over: deque[Wait[Whose]] = deque()
        self._next_look = 0.0

    def begin(self, whose: Whose, begin: Callable[[Done], None], seconds: float) -> None:
        """
        Begin what is waited for; that is over when it is told of, with an error or none.

        After `seconds` it is over with a StorageError, and what is told later counts no more. Raises what `begin`
        does; then nothing is waited for.
        """
        wait = Wait(whose, time.monotonic() + seconds)
        with self._lock:
            self._open[wait] = None
        try:
            begin(partial(self._end, wait))
        except BaseException:
            with self._lock:
                wait.over = wait.void = True
                self._open.pop(wait, None)
            raise

    def next(self) -> Wait[Whose] | None:
        """Give the wait that was over first and was not given yet; None where there is none."""
        with self._lock:
            while self._over:
                wait = self._over.popleft()
                if not wait.void:
                    return wait
            return None

    def give_back(self, waits: list[Wait[Whose]]) -> None:
        """Take waits that were given, to give them once more."""
        with self._lock:
            self._over.extend(waits)
        self._ring()

    def end_what_is_late(self) -> None:
        """End what has waited for too long; looks once a second, however often it is called."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK
        with self._lock:
            late = [wait for wait in self._open if wait.until <= now]
        for wait in late:
            self._end(wait, StorageError("the database did not commit while the message had time"))

    def _end(self, wait: Wait[Whose], error: Exception | None) -> None:
        with self._lock:
            if wait.over:
                return
            wait.over, wait.error = True, error
            self._open.pop(wait, None)
            self._over.append(wait)
            alone = len(self._over) == 1
        if alone:  # else it has rung, and nobody has looked yet
            self._ring()
