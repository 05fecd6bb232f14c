"""
The supervisor behind `gatepost run`: starts the site's services, replaces one that dies or hangs, stops them.

Each service is a process of its own, started as `gatepost run NAME`; under systemd each has a unit instead and
the supervisor is not used. The milter starts last and stops first, so it never works without the key worker.
A service that dies before it is ready is started again ever more seldom, and never given up; one that was ready is
started again soon, so that what kills it now and then costs others no more than a moment.
"""

import select
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gatepost.errors import WorkerError
from gatepost.log import logger
from gatepost.workers import notify
from gatepost.workers.service import Service

_HANGS_AFTER = 60.0  # seconds without a sign of life
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_RESTART_AFTER = 1.0  # seconds before a dead service is started again, doubled each time it is not ready before
_SELDOM = 30.0  # seconds at most before it is started again
_TURN = 0.2  # seconds


class Supervisor:
    """Runs services in the order given until SIGTERM or SIGINT."""

    def __init__(self, services: Sequence[str], *, config: Path) -> None:
        """Take the services' names; a WATCHDOG_USEC of our own holds for them, too."""
        patience = (notify.pause() or 0) * 3 or _HANGS_AFTER
        self._services = tuple(Service(name, config, patience) for name in services)
        self._stopping = False
        self._pulse = notify.Pulse()

    def run(self, ready: Callable[[], None]) -> None:
        """Start all, call `ready`, replace what dies or hangs, return after a signal once all have stopped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            for service in self._services:
                service.start()
                self._await(service)
            if not self._stopping:
                ready()
            while not self._stopping:
                self._turn()
                for service in self._services:
                    self._keep(service)
                self._pulse()
        finally:
            notify.stopping()
            self._stop_all()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _turn(self) -> None:
        """Read what the services tell, and wait for it a little."""
        told, _, _ = select.select([one for one in self._services if one.process is not None], [], [], _TURN)
        for service in told:
            service.read()

    def _await(self, service: Service) -> None:
        """Wait until a service is ready for the first time; raises WorkerError."""
        while not service.ready and not self._stopping:
            self._turn()
            if service.ended() is not None:
                raise WorkerError(f"the service {service.name} did not start: see its own message above")
            if service.age() > _START_SECONDS:
                raise WorkerError(f"the service {service.name} was not ready within {_START_SECONDS:.0f} s")

    def _keep(self, service: Service) -> None:
        """Start a service again that died, hangs, or does not become ready."""
        if service.process is None:
            if time.monotonic() >= service.due:
                service.start()
            return
        code = service.ended()
        if code is None and service.hangs(_START_SECONDS):
            logger.error("a service hangs and is killed", service=service.name)
            service.kill()
            code = service.ended()
        if code is not None:
            wait = service.bury(_RESTART_AFTER, _SELDOM)
            logger.error("a service died and is started again", service=service.name, code=code, seconds=wait)

    def _stop_all(self) -> None:
        for service in reversed(self._services):
            if service.process is not None and not service.stop(_STOP_SECONDS):
                logger.error("a service did not stop in time and was killed", service=service.name)
