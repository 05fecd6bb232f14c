"""What a service tells its manager, over a real datagram socket."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.errors import StorageError, WorkerError
from gatepost.workers import notify


class Manager:
    """The service manager's end."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))

    def told(self, seconds: float) -> str:
        """Give what is told next; empty where nothing comes in so many seconds."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            return ""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield manager
    manager.socket.close()


def test_ready_and_stopping(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    """Both go to the manager, each with a word on the status; `ready` stands on stderr as well."""
    notify.ready()
    notify.stopping()

    assert manager.told(10) == "READY=1\nSTATUS=taking work"
    assert manager.told(10) == "STOPPING=1\nSTATUS=finishing what is under way"
    assert capsys.readouterr().err == "ready\n"


def test_a_manager_that_does_not_read_holds_nothing_up(manager: Manager) -> None:
    """A full queue, or a manager that is gone, neither blocks a service nor fails it."""
    for _ in range(10_000):
        notify.notify("WATCHDOG=1")
    manager.socket.close()
    notify.notify("WATCHDOG=1")


def test_signs_of_life_follow_proofs(manager: Manager) -> None:
    """A sign of life comes again and again, each after a proof of its own."""
    proofs: list[float] = []
    notify.Watchdog(lambda: proofs.append(time.monotonic()))

    assert [manager.told(20) for _ in range(3)] == ["WATCHDOG=1"] * 3
    assert len(proofs) >= 3


def test_no_proof_no_sign(manager: Manager) -> None:
    """While the proof fails or hangs nothing is told; when it passes again, it is."""
    healthy, hanging = threading.Event(), threading.Event()

    def prove() -> None:
        if hanging.is_set():
            healthy.wait()
        elif not healthy.is_set():
            raise WorkerError("nobody answers")

    notify.Watchdog(prove)
    assert manager.told(1.0) == ""
    hanging.set()
    assert manager.told(1.0) == ""
    healthy.set()
    assert manager.told(20) == "WATCHDOG=1"


def test_only_an_error_of_ours_is_borne(manager: Manager) -> None:
    """Any fault that a proof may tell of is no sign of life, and does not end the watch."""
    faults = iter([StorageError("down"), WorkerError("down")])

    def prove() -> None:
        for fault in faults:
            raise fault

    notify.Watchdog(prove)

    assert manager.told(20) == "WATCHDOG=1"


def test_a_loop_gives_signs_no_oftener_than_needed(manager: Manager) -> None:
    """However fast a loop turns, signs of life come at a third of the time that is borne."""
    pulse = notify.Pulse()
    start = time.monotonic()
    turns = 0
    while time.monotonic() - start < 0.5:
        pulse()
        turns += 1

    signs = 0
    while manager.told(0.01):
        signs += 1
    assert 1 <= signs <= min(turns, 7)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_whether_anybody_waits(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: float | None
) -> None:
    """Signs of life are given where the manager asks this very process for them (sd_watchdog_enabled(3))."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert notify.pause() == wanted
