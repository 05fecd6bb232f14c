"""
A machine of its own on this one: a network namespace, and a mount namespace for an /etc/resolv.conf of its own.

A process holds both; with it, and with what runs in them, they are gone. It needs root and iproute2, and raises
RuntimeError where the host does not let root make namespaces.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from lab.place import note

_CLONE_NEWNET = 0x40000000  # setns(2)
_HOLD = r"""
set -eu
ip link set lo up
[ -z "$1" ] || mount --bind "$1" /etc/resolv.conf
echo made
exec sleep infinity
"""

T = TypeVar("T")


class Namespace:
    """
    One machine. Use it as a context manager, or call `start` and `stop`.

    `resolv_conf` is a file that stands for /etc/resolv.conf in it; without one the host's is seen.
    """

    def __init__(self, name: str, resolv_conf: Path | None = None) -> None:
        self.name = name
        self._resolv_conf = resolv_conf
        self._holder: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Make both namespaces; the loopback interface is up."""
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _HOLD, "sh", str(self._resolv_conf or "")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        note("group", self._holder.pid)
        assert self._holder.stdout is not None  # noqa: S101 - it was opened with a pipe
        if self._holder.stdout.readline() != b"made\n":
            said = self._holder.communicate()[1].decode(errors="replace").strip()
            raise RuntimeError(f"the network namespace {self.name!r} could not be made, which takes root: {said}")
        return self

    def stop(self) -> None:
        """End the holder; what still runs in the namespaces keeps them, unseen, until it ends."""
        if self._holder is None:
            return
        holder, self._holder = self._holder, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate(timeout=60)
        note("ended", holder.pid)

    @property
    def pid(self) -> int:
        """The holder's process ID, by which nsenter(1) and ip(8) know the namespaces."""
        if self._holder is None:
            raise RuntimeError(f"the network namespace {self.name!r} is not there")
        return self._holder.pid

    def command(self, *command: str) -> list[str]:
        """Give the command that runs a command in here."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--", *command]

    def run(self, *command: str, data: str = "") -> str:
        """Run a command in here and give what it printed; raise RuntimeError with that if it fails."""
        done = subprocess.run(
            self.command(*command), input=data, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: exit {done.returncode}\n{done.stderr}{data}")
        return done.stdout

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in a thread that is in this network; sockets that it makes stay there."""
        given: list[T] = []
        raised: list[BaseException] = []

        def enter_and_call() -> None:
            try:
                self._enter()
                given.append(function())
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                raised.append(error)

        thread = threading.Thread(target=enter_and_call, name=f"in {self.name}")
        thread.start()
        thread.join()
        if raised:
            raise raised[0]
        return given[0]

    def _enter(self) -> None:
        """Move this thread alone into the network; Python has no call for it before 3.12."""
        library = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self.pid}/ns/net").open("rb") as network:
            if library.setns(network.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter the network of {self.name!r}")

    def connect(self, address: tuple[str, int], timeout: float = 60) -> socket.socket:
        """Give a TCP connection from here."""
        return self.call(lambda: socket.create_connection(address, timeout=timeout))

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """Give a listening TCP socket in here."""
        return self.call(lambda: socket.create_server(address, backlog=100))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def command_in(within: Namespace | None, command: Sequence[str]) -> list[str]:
    """Give the command that runs a command in a namespace, or as it is without one."""
    return list(command) if within is None else within.command(*command)


def connect(within: Namespace | None, address: tuple[str, int], timeout: float = 60) -> socket.socket:
    """Give a TCP connection from a namespace, or from here without one."""
    return (
        socket.create_connection(address, timeout=timeout) if within is None else within.connect(address, timeout)
    )


def listen(within: Namespace | None, address: tuple[str, int]) -> socket.socket:
    """Give a listening TCP socket in a namespace, or here without one."""
    return socket.create_server(address, backlog=100) if within is None else within.listen(address)
