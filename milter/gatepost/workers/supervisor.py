"""
The supervisor behind `gatepost run`: starts the site's services, replaces one that dies, stops them in order.

Each service is a process of its own, started as `gatepost run NAME`; under systemd each has a unit instead and
the supervisor is not used. The milter starts last and stops first, so it never works without the key worker.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gatepost.errors import WorkerError
from gatepost.log import logger
from gatepost.workers.notify import SUPERVISED

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_RESTART_AFTER = 1.0  # seconds before a dead service is started again


class Supervisor:
    """Runs services in the order given until SIGTERM or SIGINT."""

    def __init__(self, services: Sequence[str], *, config: Path) -> None:
        self._services = tuple(services)
        self._config = config
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def run(self, ready: Callable[[], None]) -> None:
        """Start all, call `ready`, replace what dies, return after a signal once all have stopped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            for service in self._services:
                self._start(service)
            ready()
            while not self._stopping:
                self._replace_dead()
                time.sleep(0.2)
        finally:
            self._stop_all()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _start(self, service: str) -> None:
        with tempfile.TemporaryDirectory(prefix="gatepost-") as folder, _channel(folder) as channel:
            environment = os.environ | {"NOTIFY_SOCKET": f"{folder}/notify", SUPERVISED: "1"}
            command = [sys.executable, "-m", "gatepost", "-c", str(self._config), "run", service]
            process = subprocess.Popen(command, env=environment)
            self._processes[service] = process
            self._await_ready(service, process, channel)

    def _await_ready(self, service: str, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and not self._stopping:
            readable, _, _ = select.select([channel], [], [], 0.1)
            if readable and b"READY=1" in channel.recv(4096):
                return
            if process.poll() is not None:
                raise WorkerError(f"the service {service} did not start: see its own message above")
        if not self._stopping:
            raise WorkerError(f"the service {service} was not ready within {_START_SECONDS:.0f} s")

    def _replace_dead(self) -> None:
        for service, process in list(self._processes.items()):
            code = process.poll()
            if code is None or self._stopping:
                continue
            logger.error("a service died and is started again", service=service, code=code)
            time.sleep(_RESTART_AFTER)
            try:
                self._start(service)
            except WorkerError as error:
                logger.error("a service could not be started again", service=service, cause=str(error))

    def _stop_all(self) -> None:
        for service in reversed(self._services):
            process = self._processes.get(service)
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                logger.error("a service did not stop in time and was killed", service=service)
                process.kill()
                process.wait()


def _channel(folder: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(f"{folder}/notify")
    return channel
