"""A task that misbehaves harms itself alone: it ends within its limits, and the next one is done."""

import ctypes
import os
import pwd
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatepost.errors import CryptoError, WorkerError
from gatepost.workers import processes as module
from gatepost.workers.processes import Limits, Processes

LIMITS = Limits(memory=1 << 29, cpu_seconds=2, seconds=120.0, forks=False)
HASTY = Limits(memory=1 << 29, cpu_seconds=60, seconds=2.0, forks=False)


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    processes = Processes("doing a task", LIMITS, workers=1)
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Processes]:
    hasty = Processes("doing a task", HASTY, workers=1)
    yield hasty
    hasty.close()


def nothing() -> None:
    """Wait on."""


def well(target: Path) -> None:
    """Behave."""
    target.write_text(str(os.getpid()))


def allocates_without_end() -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def allocates_beside_python() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while libc.malloc(ctypes.c_size_t(1 << 20)):
        pass
    raise MemoryError


def spins() -> None:
    while True:
        pass


def sleeps() -> None:
    time.sleep(3600)


def ignores_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeps()


def segfaults() -> None:
    ctypes.string_at(0)


def leaves() -> None:
    os._exit(0)


def raises() -> None:
    raise ValueError("of a kind that nobody knows")


def refuses() -> None:
    raise CryptoError("in its own words")


@pytest.mark.real
@pytest.mark.parametrize(
    ("task", "told"),
    [
        (allocates_without_end, "took more memory than is allowed"),
        (allocates_beside_python, "took more memory than is allowed"),
        (spins, "died"),
        (segfaults, "died"),
        (raises, "failed: ValueError"),
    ],
)
def test_a_task_that_misbehaves(processes: Processes, tmp_path: Path, task: Callable[[], None], told: str) -> None:
    """Its caller is told to try later, and the next task is done, by a new process where the old one is dead."""
    with pytest.raises(WorkerError, match=told) as caught:
        processes.run(task, on_wait=nothing)

    assert caught.value.temporary
    processes.run(well, tmp_path / "done", on_wait=nothing)
    assert (tmp_path / "done").exists()


@pytest.mark.real
@pytest.mark.parametrize("task", [sleeps, ignores_sigterm, leaves])
def test_a_task_that_does_not_end(hasty: Processes, tmp_path: Path, task: Callable[[], None]) -> None:
    """When its time is over it is killed, whatever it does about signals, and the next task is done."""
    with pytest.raises(WorkerError, match=r"took longer than 2 s|died"):
        hasty.run(task, on_wait=nothing)

    deadline = time.monotonic() + 60  # a new process needs time to start, which a busy host may not give at once
    while not (tmp_path / "done").exists():
        try:
            hasty.run(well, tmp_path / "done", on_wait=nothing)
        except WorkerError:
            if time.monotonic() > deadline:
                raise


def test_its_own_words_come_back(processes: Processes) -> None:
    """What the task says of a key is told as it is."""
    with pytest.raises(CryptoError, match="in its own words"):
        processes.run(refuses, on_wait=nothing)


def test_waiting_can_be_given_up(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is asked before it waits and meanwhile; what it raises ends the wait and the task."""
    monkeypatch.setattr(module, "_TICK", 0.05)
    processes.run(well, tmp_path / "before", on_wait=nothing)
    worker = int((tmp_path / "before").read_text())

    asked: list[int] = []

    def give_up() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise WorkerError("the message's time is over")

    with pytest.raises(WorkerError, match="time is over"):
        processes.run(sleeps, on_wait=give_up)

    processes.run(well, tmp_path / "after", on_wait=nothing)
    assert int((tmp_path / "after").read_text()) != worker


def test_waiting_for_a_process_is_not_the_tasks_own_time(processes: Processes, tmp_path: Path) -> None:
    """A task that waits for a busy process is done in its turn."""
    others = [
        threading.Thread(target=processes.run, args=(time.sleep, 0.5), kwargs={"on_wait": nothing})
        for _ in range(3)
    ]
    for other in others:
        other.start()

    processes.run(well, tmp_path / "done", on_wait=nothing)

    assert (tmp_path / "done").exists()
    for other in others:
        other.join()


_FORKING = """
import os, sys
from gatepost.workers.processes import _limit
os.setgroups([]); os.setgid({user}); os.setuid({user})
_limit(1 << 30, False)
try:
    child = os.fork()
except BlockingIOError:
    sys.exit(7)
os._exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root")
def test_an_ordinary_users_task_cannot_fork() -> None:
    """Where a task needs no other process, it gets none."""
    source = _FORKING.format(user=pwd.getpwnam("nobody").pw_uid)

    done = subprocess.run([sys.executable, "-c", source], check=False, capture_output=True, timeout=60)

    assert done.returncode == 7, done.stderr


def test_no_core_is_left(processes: Processes, tmp_path: Path) -> None:
    """A process that crashes writes no core: it would hold a message."""
    processes.run(_tell_core_limit, tmp_path / "limit", on_wait=nothing)

    assert (tmp_path / "limit").read_text() == "(0, 0)"


def _tell_core_limit(target: Path) -> None:
    target.write_text(str(resource.getrlimit(resource.RLIMIT_CORE)))
