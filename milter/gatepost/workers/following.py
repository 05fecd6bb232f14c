"""
The loop of the service that follows the mail server's log.

The mail flow never waits for it. While the log or the database cannot be used it says so, once, and goes on
trying: the log itself keeps what was not read yet.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from gatepost.errors import GatepostError, LogError, cause
from gatepost.log import logger

_PAUSE = 1.0  # seconds between a look and its note: decisions are recorded meanwhile


class Following(Protocol):
    """What is done in turns. Raises GatepostError."""

    def look(self) -> int:
        """Read what was logged."""

    def note(self) -> int:
        """Record it."""

    def close(self) -> None:
        """Keep the place."""


def follow(
    follower: Following, ended: threading.Event, pulse: Callable[[], None], *, pause: float = _PAUSE
) -> None:
    """Look and note in turns until `ended` is set; `pulse` is called at each turn."""
    look, note = _Step(follower.look), _Step(follower.note)
    while not ended.is_set():
        look.take()
        ended.wait(pause)
        note.take()
        pulse()
    _Step(follower.close).take()


class _Step:
    """One of the steps; a fault that stays is told once."""

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self._told = ""

    def take(self) -> None:
        """Take the step; what fails is told."""
        try:
            self._step()
        except GatepostError as error:
            fault = cause(error)
            if fault == self._told:
                return
            self._told = fault
            if isinstance(error, LogError):
                logger.warning("the mail server's log cannot be read", cause=fault)
            else:
                logger.warning("deliveries wait to be recorded", cause=fault)
        else:
            self._told = ""
