"""
One service under the supervisor: its process, and what it tells.

It tells by datagrams, as to systemd (sd_notify(3)): that it is ready, and again and again that it lives.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from gatepost.workers.notify import SUPERVISED, WATCHDOG

_LONGEST = 4096  # octets of a datagram
_MALLOC = {
    # mallopt(3). Sequoia takes 4 MiB twice a message and touches little of it: from the heap that needs no system
    # call, and no other processor is told that pages are gone.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
}


class Service:
    """One service; `process` is None while none runs, and `due` then tells when the next one should."""

    def __init__(self, name: str, config: Path, patience: float) -> None:
        """Take the name, as in `gatepost run NAME`, and the seconds without a sign of life that are borne."""
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.due = 0.0
        self._config = config
        self._patience = patience
        self._folder = tempfile.TemporaryDirectory(prefix="gatepost-")
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(f"{self._folder.name}/notify")
        self._channel.setblocking(False)
        self._started = 0.0
        self._heard = 0.0
        self._wait = 0.0

    def fileno(self) -> int:
        """Give the descriptor that becomes readable when the service tells something."""
        return self._channel.fileno()

    def start(self) -> None:
        """Start a process; it is ready when it says so."""
        self._drain()
        inherited = {key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"}
        environment = (
            _MALLOC
            | inherited
            | {
                "NOTIFY_SOCKET": f"{self._folder.name}/notify",
                SUPERVISED: "1",
                WATCHDOG: str(int(self._patience * 1e6)),
            }
        )
        command = [sys.executable, "-m", "gatepost", "-c", str(self._config), "run", self.name]
        self.process = subprocess.Popen(command, env=environment)
        self._started = self._heard = time.monotonic()
        self.ready = False

    def read(self) -> None:
        """Take in what the service tells."""
        for state in self._drain():
            self._heard = time.monotonic()
            if not self.ready and b"READY=1" in state.split(b"\n"):
                self.ready = True

    def _drain(self) -> list[bytes]:
        states = []
        with suppress(BlockingIOError):
            while True:
                states.append(self._channel.recv(_LONGEST))
        return states

    def age(self) -> float:
        """Give the seconds since the process was started."""
        return time.monotonic() - self._started

    def ended(self) -> int | None:
        """Give the exit code of a process that has ended; None while it runs, or none does."""
        return None if self.process is None else self.process.poll()

    def hangs(self, start_seconds: float) -> bool:
        """Tell whether it gave no sign of life for too long, or was not ready in so many seconds."""
        self.read()
        if not self.ready:
            return self.age() > start_seconds
        return time.monotonic() - self._heard > self._patience

    def kill(self) -> None:
        """End the process at once, and wait for that."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def bury(self, first: float, seldom: float) -> float:
        """
        Note that the process is gone; give the seconds until the next is due.

        It is `first`, and twice as long as last time where the process was never ready, but no more than `seldom`.
        """
        self.read()
        self._wait = first if self.ready else min(max(self._wait * 2, first), seldom)
        self.process, self.ready = None, False
        self.due = time.monotonic() + self._wait
        return self._wait

    def stop(self, seconds: float) -> bool:
        """End the process by SIGTERM; False where it took longer, and was killed."""
        if self.process is None:
            return True
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        finally:
            self.process = None
        return True
