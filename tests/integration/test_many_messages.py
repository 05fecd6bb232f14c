"""A hundred thousand messages through one milter: memory stays flat, no descriptor or thread is left behind."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.client import Client, Envelope
from lab.letter import letter
from lab.place import free_port, note, short_folder
from lab.town import Town, town
from lab.wait import until_port_answers

pytestmark = [pytest.mark.real, pytest.mark.soak, pytest.mark.timeout(3600)]

_MESSAGES = int(os.environ.get("GATEPOST_MESSAGES", "100000"))
_STEPS = 10
_SPLIT = 0.02  # of all messages; the rest goes in halves to a partner with a key and to one without
_SETTLED = 2  # steps until caches and pools have their size
_MORE_MEMORY = 15 << 20  # octets, from there to the end
_MORE_DESCRIPTORS = 20
_MORE_THREADS = 5


@dataclass(frozen=True, slots=True)
class Usage:
    """What the milter holds while nothing is under way; memory in octets."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Look at a process."""
        process = Path("/proc") / str(pid)
        resident = re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
        assert resident is not None
        return cls(
            int(resident[1]) << 10, len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))
        )

    def __str__(self) -> str:
        return f"{self.memory >> 20} MiB, {self.descriptors} descriptors, {self.threads} threads"


@contextmanager
def _receiver(port: int) -> Iterator[None]:
    """Take mail on a port and forget it."""
    command = ["smtp-sink", "-u", "postfix", f"127.0.0.1:{port}", "1000"]
    with subprocess.Popen(command, start_new_session=True) as process:
        note("group", process.pid)
        try:
            until_port_answers(port)
            yield
        finally:
            process.kill()
            note("ended", process.pid)


def _source(built: Town, recipient: str, count: int) -> "subprocess.Popen[bytes]":
    sender = ["-f", "sue@hosp.test", "-t", recipient, "-l", "2000", "-s", "8", "-d", "-m", str(count)]
    return subprocess.Popen(["smtp-source", *sender, f"127.0.0.1:{built.postfix.inside_port}"])


def _send_split(built: Town, count: int) -> None:
    """Send messages that take a copy in place and two submitted ones."""
    recipients = ("doc@hosp.test", "ann@pgp.test", "eve@pgp.test")
    with Client(built.postfix.inside_port) as client:
        for _ in range(count):
            message = letter("Hello.\r\n", to="doc@hosp.test, ann@pgp.test")
            assert client.send(Envelope("sue@hosp.test", recipients), message).ok


def _step(built: Town, count: int) -> None:
    """Send a part of the messages and wait until all are delivered."""
    split = int(count * _SPLIT)
    half = (count - split) // 2
    sources = [_source(built, recipient, half) for recipient in ("ann@pgp.test", "bob@plain.test")]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(_send_split, built, split // 4) for _ in range(4)]:
            done.result(1200)
    assert [source.wait(1200) for source in sources] == [0, 0]
    built.postfix.wait_queue_empty(300)


def test_memory_descriptors_and_threads(
    counted: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """After the first fifth, memory, descriptors and threads of the milter grow no more; it is one process."""
    port = free_port()
    began = time.monotonic()
    with short_folder() as folder, _receiver(port), town(folder) as built:
        for domain in ("hosp.test", "pgp.test", "plain.test"):
            built.postfix.route(domain, port)
        (pid,) = built.site.service_pids("milter")
        samples = []
        for number in range(1, _STEPS + 1):
            _step(built, _MESSAGES // _STEPS)
            time.sleep(3)  # threads and pools come to rest
            samples.append(Usage.of(pid))
            line = f"{number * _MESSAGES // _STEPS} messages, {time.monotonic() - began:.0f} s: {samples[-1]}"
            counted(f"one milter: {line}")
            with capsys.disabled():
                sys.stdout.write(f"\n{line}")
                sys.stdout.flush()
        assert built.site.service_pids("milter") == [pid]
    settled, last = samples[_SETTLED - 1], samples[-1]
    assert last.memory <= settled.memory + _MORE_MEMORY
    assert last.descriptors <= settled.descriptors + _MORE_DESCRIPTORS
    assert last.threads <= settled.threads + _MORE_THREADS
