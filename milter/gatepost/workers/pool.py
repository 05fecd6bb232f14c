"""
The encryption pool: large messages are encrypted, and their signatures verified, in processes of their own, so
that the milter's threads go on.

A message goes in and comes out through unlinked files that the worker opens by their number under /proc: memory
stays bounded, and nothing is left behind however a process ends. Small messages are encrypted on the spot, where
handing them over would cost more than the work.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO

from gatepost.crypto import openpgp_signature
from gatepost.crypto.openpgp import Encryptor
from gatepost.crypto.signature import Signer
from gatepost.message.body import Body, FileBody, MemoryBody
from gatepost.workers.processes import Limits, Processes

_ON_THE_SPOT = 256 << 10  # octets

ENGINES = ("sequoia", "gnupg")


class Pool:
    """Encrypts messages of any size with one engine. Thread-safe; processes start with the first large message."""

    def __init__(
        self, engine: str, *, program: str = "gpg", directory: Path | None = None, workers: int = 0
    ) -> None:
        """Take the engine (one of ENGINES), gpg's program, the directory for files, the number of processes."""
        self._engine = engine
        self._program = program
        self._directory = directory
        limits = Limits(memory=1 << 30, cpu_seconds=60, seconds=300.0, forks=engine == "gnupg")
        self._processes = Processes("encrypting or verifying a message", limits, workers)
        self.encryptor = _encryptor(engine, program)

    def encrypt(self, pieces: Iterable[bytes], certificates: Sequence[bytes], on_wait: Callable[[], None]) -> Body:
        """
        Encrypt a message that comes in pieces to every certificate; gives the ASCII armor, lines ended by LF.

        `on_wait` is called before it waits for a process, and about every 5 s meanwhile; what it raises ends the
        wait. Raises CryptoError, WorkerError and, where the disk is full, OSError.
        """
        if self._engine == "gnupg":  # a process of its own for each
            on_wait()
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
        with (
            tempfile.TemporaryFile(dir=self._directory, prefix="armor-") as armored,
            tempfile.TemporaryFile(dir=self._directory, prefix="plain-") as plain,
        ):
            plain.writelines(gathered)
            gathered.clear()
            plain.writelines(rest)
            plain.flush()
            files = _path(plain), _path(armored), self._directory
            task = (self._engine, self._program), files, tuple(certificates)
            self._processes.run(_encrypt, *task, on_wait=on_wait)
            return FileBody(armored.fileno())

    def verify(
        self, signed: bytes, signature: bytes, certificates: Sequence[bytes], on_wait: Callable[[], None]
    ) -> tuple[Signer, ...]:
        """
        Verify a detached OpenPGP signature with these certificates; gives who made it.

        `on_wait` is called before it waits for a process, and about every 5 s meanwhile; what it raises ends the
        wait. Raises SignatureError, WorkerError and,
        where the disk is full, OSError.
        """
        if len(signed) <= _ON_THE_SPOT:
            return openpgp_signature.verify(signed, signature, certificates)
        with tempfile.TemporaryFile(dir=self._directory, prefix="signed-") as file:
            file.write(signed)
            file.flush()
            return self._processes.run(_verify, _path(file), signature, tuple(certificates), on_wait=on_wait)

    def state(self) -> dict[str, float]:
        """Give how many processes there may be, the tasks for them, and how many processes were lost."""
        return self._processes.state()

    def close(self) -> None:
        """Stop the processes; what is under way there is dropped."""
        self._processes.close()


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


def _encrypt(engine: tuple[str, str], files: tuple[str, str, Path | None], certificates: Sequence[bytes]) -> None:
    """Run in the worker process: source, target and the directory for temporary files."""
    source, target, directory = files
    _encryptor(*engine).encrypt_file(Path(source), Path(target), certificates, directory)


def _verify(signed: str, signature: bytes, certificates: Sequence[bytes]) -> tuple[Signer, ...]:
    """Run in the worker process."""
    return openpgp_signature.verify(Path(signed), signature, certificates)
