"""
What a service tells its manager, systemd or `gatepost run`: ready, alive, stopping; one datagram each.

sd_notify(3), sd_watchdog_enabled(3). Telling never blocks and never fails: a manager that is gone is told nothing.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from gatepost.errors import GatepostError, cause
from gatepost.log import logger

SUPERVISED = "GATEPOST_SUPERVISED"  # set for a service that the supervisor started: it alone says `ready`
WATCHDOG = "WATCHDOG_USEC"  # microseconds without a sign of life after which a service counts as hung
_SIGNS = 3  # in that time


def ready() -> None:
    """Tell the service manager and whoever reads stderr that the service takes work."""
    notify("READY=1\nSTATUS=taking work")
    if SUPERVISED not in os.environ:
        sys.stderr.write("ready\n")
        sys.stderr.flush()


def stopping() -> None:
    """Tell that no more work is taken and what is under way is being finished."""
    notify("STOPPING=1\nSTATUS=finishing what is under way")


def manager() -> str:
    """Give the service manager's socket; empty where there is none."""
    return os.environ.get("NOTIFY_SOCKET", "")


def notify(state: str, name: str | None = None) -> None:
    """Send a state to the service manager, or to the one named; without one nothing happens."""
    name = manager() if name is None else name
    if not name:
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode("ascii"), socket.MSG_DONTWAIT, address)


def pause() -> float | None:
    """Give the seconds between two signs of life; None where nobody waits for any."""
    text = os.environ.get(WATCHDOG, "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or not int(text) or (owner and owner != str(os.getpid())):
        return None
    return int(text) / 1e6 / _SIGNS


class Pulse:
    """A sign of life, given by a loop that calls this at every turn; sent when it is time."""

    def __init__(self) -> None:
        self._manager = manager()
        self._pause = pause()
        self._next = 0.0

    def __call__(self) -> None:
        """Send a sign of life if one is due."""
        now = time.monotonic()
        if self._pause is not None and now >= self._next:
            self._next = now + self._pause
            notify("WATCHDOG=1", self._manager)


class Watchdog:
    """Gives signs of life from a thread of its own, each after a proof: one that hangs or fails means none."""

    def __init__(self, prove: Callable[[], None]) -> None:
        """Take the proof, which raises GatepostError; nothing is done where nobody waits for signs of life."""
        self._prove = prove
        self._manager = manager()
        self._pause = pause()
        if self._pause is not None:
            threading.Thread(target=self._run, args=(self._pause,), name="watchdog", daemon=True).start()

    def _run(self, pause: float) -> None:
        while True:
            try:
                self._prove()
            except GatepostError as error:
                logger.error("the service does not prove that it lives", cause=cause(error))
            else:
                notify("WATCHDOG=1", self._manager)
            time.sleep(pause)
