"""
Processes that do heavy or hostile work, one task at a time each, so that the service's own threads go on.

Rules:
  * A process takes no more memory and CPU than its limits; a task that spins, sleeps or hangs is killed with its
    process when its time is over. Where the limits say so, it cannot start others (the superuser always can).
  * A process that dies is replaced; its task's caller gets a WorkerError, which is temporary.
  * A waiting caller is asked every few seconds whether to go on; if not, the process is killed.

The only module that imports pebble.
"""

import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from gatepost.errors import CryptoError, WorkerError

Result = TypeVar("Result")

_MOST = 4  # processes, however many processors there are: each takes memory
_TASKS = 1000  # tasks before a process is replaced
_TICK = 5.0  # seconds between two calls of on_wait
_GRACE = 10.0  # seconds in which a process that is killed must be gone


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may take: octets of address space, seconds of CPU and of time; may it start processes."""

    memory: int
    cpu_seconds: int
    seconds: float
    forks: bool


class Processes:
    """Runs functions in processes, which start with the first task. Thread-safe."""

    def __init__(self, what: str, limits: Limits, workers: int = 0) -> None:
        """Take what the tasks do, in words for an error, and the number of processes; 0: as the host has CPUs."""
        self._what = what
        self._limits = limits
        self._workers = workers or min(os.cpu_count() or 1, _MOST)
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._tasks = self._lost = 0

    def run(self, function: Callable[..., Result], *arguments: object, on_wait: Callable[[], None]) -> Result:
        """
        Run an importable function there, and wait for what it gives.

        `on_wait` is called before, and about every 5 s meanwhile; what it raises ends the task. Raises
        WorkerError, and the CryptoError that the function raised.
        """
        on_wait()
        task = (self._limits.cpu_seconds, function, arguments)
        pool = self._started()
        self._count(tasks=1)
        try:
            found: Result = self._await(pool.schedule(_perform, args=task, timeout=self._limits.seconds), on_wait)
            return found
        finally:
            self._count(tasks=-1)

    def state(self) -> dict[str, float]:
        """Give how many processes there may be, the tasks for them, and how many processes were lost."""
        return {"processes": self._workers, "tasks": self._tasks, "lost": self._lost}

    def _count(self, *, tasks: int = 0, lost: int = 0) -> None:
        with self._lock:
            self._tasks += tasks
            self._lost += lost

    def _started(self) -> ProcessPool:
        with self._lock:
            if self._pool is None or not self._pool.active:
                self._pool = ProcessPool(
                    max_workers=self._workers,
                    max_tasks=_TASKS,
                    initializer=_limit,
                    initargs=(self._limits.memory, self._limits.forks),
                    context=multiprocessing.get_context("spawn"),  # a fork would copy locks that threads hold
                )
            return self._pool

    def _await(self, future: Any, on_wait: Callable[[], None]) -> Any:  # noqa: ANN401 - pebble has no types
        end: float | None = None  # a task's time begins when a process takes it
        while True:
            try:
                return future.result(timeout=_TICK)
            except CryptoError:
                raise
            except ProcessExpired as error:
                self._count(lost=1)
                raise WorkerError(f"the process that was {self._what} died") from error
            except (FutureTimeoutError, TimeoutError) as error:
                if end is None and future.running():
                    end = time.monotonic() + self._limits.seconds + _GRACE
                if future.done() or (end is not None and time.monotonic() > end):
                    self._count(lost=1)
                    raise WorkerError(f"{self._what} took longer than {self._limits.seconds:.0f} s") from error
                _ask(future, on_wait)
            except MemoryError as error:
                raise WorkerError(f"{self._what} took more memory than is allowed") from error
            except Exception as error:
                raise WorkerError(f"{self._what} failed: {type(error).__name__}") from error

    def close(self) -> None:
        """Stop the processes; what is under way there is dropped."""
        with self._lock:
            if self._pool is not None:
                self._pool.stop()  # type: ignore[no-untyped-call]
                self._pool.join()
                self._pool = None


def _ask(future: Any, on_wait: Callable[[], None]) -> None:  # noqa: ANN401 - pebble has no types
    try:
        on_wait()
    except BaseException:
        future.cancel()
        raise


def _limit(memory: int, forks: bool) -> None:  # noqa: FBT001 - pebble hands on arguments by their place alone
    """Run in a new process, before its first task."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not forks:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _perform(cpu_seconds: int, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
    """Run in the process: one task, within the CPU that is left to it; the kernel kills what takes more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    return function(*arguments)
