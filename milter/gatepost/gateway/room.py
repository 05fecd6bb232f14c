"""
Room for large messages: those that must be read into memory whole are read one at a time.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gatepost.gateway.budget import Budget
from gatepost.message.body import MEMORY_LIMIT, Body

_TICK = 1.0  # seconds


class Room:
    """Lets one large message be read at a time; small ones go by. Thread-safe."""

    def __init__(self) -> None:
        self._one = threading.Lock()

    @contextmanager
    def to_read(self, body: Body, budget: Budget) -> Iterator[None]:
        """Wait for room, with signs of life; raises WorkerError when the message's time is up."""
        if body.size <= MEMORY_LIMIT:
            yield
            return
        while not self._one.acquire(timeout=min(budget.left(), _TICK)):
            budget.tick()
        try:
            yield
        finally:
            self._one.release()
