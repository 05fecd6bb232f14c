"""
The encryption pool: large messages are encrypted in processes of their own, so that the milter's threads go on.

A message goes in and comes out through unlinked files that the worker opens by their number under /proc: memory
stays bounded, and nothing is left behind however a process ends. Small messages are encrypted on the spot, where
handing them over would cost more than the work.
"""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache
from pathlib import Path
from typing import IO, Any

from pebble import ProcessExpired, ProcessPool

from gatepost.crypto.openpgp import Encryptor
from gatepost.errors import CryptoError, WorkerError
from gatepost.message.body import Body, MemoryBody

_ON_THE_SPOT = 256 << 10  # octets
_SECONDS = 300.0  # for one message
_TICK = 5.0  # seconds between two calls of on_wait
_CHUNK = 1 << 16
_TASKS = 1000  # messages before a worker is replaced

ENGINES = ("sequoia", "gnupg")


class FileBody:
    """A body in an unlinked file; implements Body."""

    __slots__ = ("_file", "size")

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    def chunks(self) -> Iterator[bytes]:
        """Read from the beginning, in pieces of at most 64 KiB."""
        position = 0
        while piece := os.pread(self._file.fileno(), _CHUNK, position):
            position += len(piece)
            yield piece

    def read(self) -> bytes:
        """Read all of it into memory."""
        return b"".join(self.chunks())


class Pool:
    """Encrypts messages of any size with one engine. Thread-safe; processes start with the first large message."""

    def __init__(
        self, engine: str, *, program: str = "gpg", directory: Path | None = None, workers: int = 0
    ) -> None:
        """Take the engine (one of ENGINES), gpg's program, the directory for files, the number of processes."""
        self._engine = engine
        self._program = program
        self._directory = directory
        self._workers = workers or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._processes: ProcessPool | None = None
        self.encryptor = _encryptor(engine, program)

    def encrypt(self, pieces: Iterable[bytes], certificates: Sequence[bytes], on_wait: Callable[[], None]) -> Body:
        """
        Encrypt a message that comes in pieces to every certificate; gives the ASCII armor, lines ended by LF.

        `on_wait` is called about every 5 s; what it raises ends the wait. Raises CryptoError, WorkerError and,
        where the disk is full, OSError.
        """
        gathered: list[bytes] = []
        size = 0
        rest = iter(pieces)
        for piece in rest:
            gathered.append(piece)
            size += len(piece)
            if size > _ON_THE_SPOT:
                return self._in_process(gathered, rest, certificates, on_wait)
        return MemoryBody(self.encryptor.encrypt(b"".join(gathered), certificates))

    def _in_process(
        self,
        gathered: list[bytes],
        rest: Iterator[bytes],
        certificates: Sequence[bytes],
        on_wait: Callable[[], None],
    ) -> Body:
        armored = tempfile.TemporaryFile(dir=self._directory, prefix="armor-")  # noqa: SIM115 - the body keeps it
        with tempfile.TemporaryFile(dir=self._directory, prefix="plain-") as plain:
            plain.writelines(gathered)
            gathered.clear()
            plain.writelines(rest)
            plain.flush()
            arguments = (self._engine, self._program, _path(plain), _path(armored), tuple(certificates))
            self._await(self._started().schedule(_encrypt, args=arguments, timeout=_SECONDS), on_wait)
        return FileBody(armored)

    def _started(self) -> ProcessPool:
        with self._lock:
            if self._processes is None or not self._processes.active:
                context = multiprocessing.get_context("spawn")  # a fork would copy the milter's threads' locks
                self._processes = ProcessPool(max_workers=self._workers, max_tasks=_TASKS, context=context)
            return self._processes

    @staticmethod
    def _await(future: Any, on_wait: Callable[[], None]) -> None:  # noqa: ANN401 - pebble has no types
        end = time.monotonic() + _SECONDS + _TICK
        while True:
            try:
                future.result(timeout=_TICK)
            except CryptoError:
                raise
            except ProcessExpired as error:
                raise WorkerError("the process that encrypted the message died") from error
            except (FutureTimeoutError, TimeoutError) as error:
                if future.done() or time.monotonic() > end:
                    raise WorkerError(f"encrypting the message took longer than {_SECONDS:.0f} s") from error
                _wait_on(future, on_wait)
                continue
            except Exception as error:
                raise WorkerError(f"encrypting the message failed: {type(error).__name__}") from error
            return

    def close(self) -> None:
        """Stop the processes; what is under way there is dropped."""
        with self._lock:
            if self._processes is not None:
                self._processes.stop()  # type: ignore[no-untyped-call]
                self._processes.join()
                self._processes = None


def _wait_on(future: Any, on_wait: Callable[[], None]) -> None:  # noqa: ANN401 - pebble has no types
    try:
        on_wait()
    except BaseException:
        future.cancel()
        raise


def _path(file: IO[bytes]) -> str:
    return f"/proc/{os.getpid()}/fd/{file.fileno()}"


@cache
def _encryptor(engine: str, program: str) -> Encryptor:
    """Give this process's engine."""
    if engine == "gnupg":
        from gatepost.crypto.gnupg_engine import GnupgEncryptor  # noqa: PLC0415 - only where it is chosen

        return GnupgEncryptor(program)
    from gatepost.crypto.sequoia import SequoiaEncryptor  # noqa: PLC0415 - the same

    return SequoiaEncryptor()


def _encrypt(engine: str, program: str, source: str, target: str, certificates: Sequence[bytes]) -> None:
    """Run in the worker process."""
    _encryptor(engine, program).encrypt_file(Path(source), Path(target), certificates)
