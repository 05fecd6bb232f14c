"""A service that died is started again, soon or later."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.workers.service import Service


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service("milter", Path("gatepost.toml"), 60)
    yield made
    made._channel.close()


def _is_ready(service: Service) -> None:
    """Tell what a service tells when it is ready, and die before anybody has read it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"READY=1", f"{service._folder.name}/notify")


def test_one_that_is_never_ready_waits_ever_longer(service: Service) -> None:
    """What cannot start is tried again, at longer and longer intervals."""
    assert [service.bury(1, 30) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_one_that_was_ready_is_started_soon(service: Service) -> None:
    """Whatever killed it, and however often: who needs it waits no longer than the first time."""
    for _ in range(3):
        service.bury(1, 30)
    for _ in range(3):
        _is_ready(service)
        assert service.bury(1, 30) == 1
    assert service.bury(1, 30) == 2


def test_memory_is_taken_in_few_calls_unless_told_otherwise(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes 4 MiB for each message takes it from the heap; what the admin sets for a service counts."""
    started: list[dict[str, str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda _command, env: started.append(env))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    service.start()

    assert int(started[0]["MALLOC_MMAP_THRESHOLD_"]) > 4 << 20
    assert started[0]["MALLOC_ARENA_MAX"] == "7"
