"""
gpg's throw-away homes: where each run of gpg finds its keys, and the limits it runs under.

Rules:
  * gpg sees no options file and never --verbose: what a message says must not reach the channel of its reports.
  * Every run has a limit of time and memory.
  * A home goes away with its user, agent and all; what a killed process left is removed by the next.

The only module that imports gnupg (python-gnupg).
"""

import os
import resource
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import Any

import gnupg

from gatepost.errors import WorkerError

UNLOCKED = ("--pinentry-mode", "loopback", "--passphrase", "")

_PREFIX = "gp-"
_IN_MEMORY = "/dev/shm"  # noqa: S108 - mkdtemp makes a directory of our own in it
_SECONDS = 60.0  # for one run of gpg
_MEMORY = 1 << 30  # octets of address space
_BUFFER = 1 << 16  # octets read and written at a time
_OPTIONS = ["--no-options", "--no-auto-check-trustdb", "--trust-model", "always", "--no-auto-key-retrieve"]


class _TimedGpg(gnupg.GPG):  # type: ignore[misc]  # python-gnupg has no types
    """python-gnupg with limits on the process it starts."""

    def _open_subprocess(self, args: list[str], passphrase: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - theirs
        process = super()._open_subprocess(args, passphrase)
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS)))
        return process

    def _collect_output(self, process: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - theirs
        timer = threading.Timer(_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            return super()._collect_output(process, *args, **options)
        finally:
            timer.cancel()


class Home:
    """
    One throw-away home of gpg, in memory where the system has a place for that: it may hold a private key.

    Its path is short, since the agent's socket lies in it, and names the process, so that what a killed process
    left behind can be told and removed.
    """

    def __init__(self, program: str = "gpg") -> None:
        self.program = program
        self.path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_root())  # mkdtemp: mode 0700
        self.close = weakref.finalize(self, _remove_home, self.path)
        self._fingerprints: dict[bytes, tuple[str, ...]] = {}
        self.lock = threading.Lock()
        try:
            self.gpg = _TimedGpg(
                gpgbinary=program, gnupghome=self.path, options=_OPTIONS, env={**os.environ, "LC_ALL": "C"}
            )
        except (OSError, ValueError) as error:
            self.close()
            raise WorkerError(f"gpg cannot be run: {error}") from error

    def writing_to(self, write: Callable[[bytes], object]) -> Any:  # noqa: ANN401 - python-gnupg has no types
        """Give a runner in this home that hands on what gpg writes, piece by piece, and keeps nothing of it."""

        def on_data(piece: bytes) -> bool:
            write(piece)
            return False

        runner = copy(self.gpg)
        runner.on_data = on_data
        runner.buffer_size = _BUFFER
        return runner

    @property
    def held(self) -> int:
        """The number of imports so far."""
        return len(self._fingerprints)

    def import_keys(self, data: bytes) -> tuple[str, ...]:
        """Import once and name the keys; empty where gpg reads none."""
        digest = sha256(data).digest()
        with self.lock:
            known = self._fingerprints.get(digest)
            if known is None:
                known = self._import(data)
                self._fingerprints[digest] = known
        return known

    def _import(self, data: bytes) -> tuple[str, ...]:
        try:
            result = self.gpg.import_keys(data)
        except (BrokenPipeError, OSError):
            return ()
        return tuple(dict.fromkeys(fingerprint for fingerprint in result.fingerprints if fingerprint))

    def run(self, *arguments: str, data: bytes = b"", batch: bool = True) -> bytes:
        """Run gpg on this home; gives its output, empty where it failed."""
        mode = ["--batch"] if batch else []
        command = [self.program, "--homedir", self.path, *mode, "--no-tty", *_OPTIONS, *arguments]
        try:
            done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorkerError(f"gpg cannot be run: {error}") from error
        return done.stdout if done.returncode == 0 else b""

    def is_locked(self) -> bool:
        """Tell whether the agent holds a key under a passphrase (`C` in KEYINFO: it is in clear)."""
        command = ["gpg-connect-agent", "--homedir", self.path, "keyinfo --list", "/bye"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
        lines = [line.split() for line in done.stdout.decode("ascii", "replace").splitlines()]
        return any(line[7] == "P" for line in lines if line[:2] == ["S", "KEYINFO"])


def _root() -> str:
    return _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else tempfile.gettempdir()


def remove_stale() -> None:
    """Remove the homes, agents included, of processes of this user that were killed."""
    for path in Path(_root()).glob(f"{_PREFIX}*-*"):
        with suppress(OSError, ValueError):
            process = int(path.name.removeprefix(_PREFIX).partition("-")[0])
            if path.stat().st_uid == os.geteuid() and not Path(f"/proc/{process}").exists():
                _remove_home(str(path))


def _remove_home(path: str) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            ["gpgconf", "--homedir", path, "--kill", "all"], check=False, timeout=10, capture_output=True
        )
    shutil.rmtree(path, ignore_errors=True)


def records(listing: bytes) -> list[list[str]]:
    """Take gpg's colon listing apart (doc/DETAILS in gpg's sources)."""
    lines = listing.decode("utf-8", "replace").splitlines()
    return [[*line.split(":"), *[""] * 12] for line in lines if ":" in line]
