"""
The receivers: smtp-sink counts what it throws away, a sink of the lab keeps the samples.
"""

import fcntl
import os
import re
import subprocess
import time
from types import TracebackType
from typing import Self

from lab.place import free_port, note
from lab.sink import Received, Sink
from lab.wait import until_port_answers

_GLANCE = 0.002  # seconds: how exactly the end of a batch is seen


class Receiver:
    """Both receivers; `port` takes any mail, `sample_port` keeps what it takes."""

    def __init__(self) -> None:
        self.port = free_port()
        self._sink = Sink()
        self.sample_port = self._sink.port
        self._counter: subprocess.Popen[bytes] | None = None
        self._said = b""

    def __enter__(self) -> Self:
        self._sink.start()
        command = ["smtp-sink", "-c", "-u", "nobody", f"127.0.0.1:{self.port}", "1000"]
        self._counter = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        note("group", self._counter.pid)
        until_port_answers(self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counter is not None:
            self._counter.kill()
            self._counter.wait()
            note("ended", self._counter.pid)
        self._sink.stop()

    @property
    def samples(self) -> list[Received]:
        """What was kept since `forget`."""
        return self._sink.messages

    def forget(self) -> None:
        """Drop the samples."""
        self._sink.clear()

    def count(self) -> int:
        """Give how many messages both have received since the start, but for forgotten samples."""
        assert self._counter is not None  # noqa: S101 - called inside the context only
        assert self._counter.stdout is not None  # noqa: S101 - it was opened with a pipe
        pipe = self._counter.stdout.fileno()
        flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        try:
            while piece := os.read(pipe, 1 << 16):
                self._said = (self._said + piece)[-200:]
        except BlockingIOError:
            pass
        counted = re.findall(rb"mesg=(\d+)", self._said.rpartition(b"\r")[0])
        return (int(counted[-1]) if counted else 0) + len(self._sink.messages)

    def wait_for(self, count: int, timeout: float) -> float:
        """Wait until `count` messages have come in and give the moment; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while (counted := self.count()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{counted} of {count} messages received within {timeout:.0f} s")
            time.sleep(_GLANCE)
        return time.monotonic()
