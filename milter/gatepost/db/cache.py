"""
Remembers answers of the directory for a moment, so that a busy recipient costs one look-up, not one per message.

Edits by command line or SQL are seen once an answer has aged; absence is remembered like presence. Bounded.
"""

import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SECONDS = 2.0
ENTRIES = 4096


class Cache(Generic[K, V]):
    """Answers by question, for `seconds`. Thread-safe; what the look-up raises is raised and not remembered."""

    def __init__(
        self,
        look_up: Callable[[K], V],
        *,
        seconds: float = SECONDS,
        entries: int = ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._seconds = seconds
        self._entries = entries
        self._clock = clock
        self._answers: dict[K, tuple[float, V]] = {}
        self._lock = Lock()

    def __call__(self, question: K) -> V:
        """Give the remembered answer, or look it up."""
        asked = self._clock()
        found = self._answers.get(question)
        if found is not None and asked < found[0]:
            return found[1]
        answer = self._look_up(question)
        with self._lock:
            if len(self._answers) >= self._entries:
                self._answers.clear()  # simple, and rare: the next questions cost a look-up each
            self._answers[question] = (asked + self._seconds, answer)
        return answer
