"""
A message's body on its way through: in memory up to a limit, then in an unlinked file.

The spool is written by one thread, then only read. An unlinked file vanishes with its last descriptor,
so nothing of a message outlives the process.
"""

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

MEMORY_LIMIT = 1 << 20
_CHUNK = 65535  # octets: as many as one request of the milter protocol carries


class Body(Protocol):
    """Bytes that can be read again and again; CRLF line ends."""

    @property
    def size(self) -> int:
        """The length in octets."""

    def chunks(self) -> Iterator[bytes]:
        """Read from the beginning, in pieces of at most 65535 octets."""

    def read(self) -> bytes:
        """Read all of it into memory."""


class MemoryBody:
    """A body that is one bytes object."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """The length in octets."""
        return len(self._data)

    def chunks(self) -> Iterator[bytes]:
        """Read from the beginning, in pieces of at most 65535 octets."""
        for start in range(0, len(self._data), _CHUNK):
            yield self._data[start : start + _CHUNK]

    def read(self) -> bytes:
        """Give all of it."""
        return self._data


class FileBody:
    """A body in an unlinked file, through a descriptor of its own that goes with the last who knows the body."""

    __slots__ = ("__weakref__", "_descriptor", "size")

    def __init__(self, descriptor: int) -> None:
        """Take a file that nothing is left to be written to."""
        self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def chunks(self) -> Iterator[bytes]:
        """Read from the beginning, in pieces of at most 65535 octets."""
        position = 0
        while piece := os.pread(self._descriptor, _CHUNK, position):
            position += len(piece)
            yield piece

    def read(self) -> bytes:
        """Read all of it into memory."""
        return b"".join(self.chunks())


class Spool:
    """A body being received; usable as a Body once all of it is written."""

    __slots__ = ("_directory", "_file", "_pieces", "size")

    def __init__(self, directory: Path | None = None) -> None:
        """Spill into `directory`; None means the system's place for temporary files."""
        self._directory = directory
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append a chunk; raises OSError when the disk is full."""
        self.size += len(chunk)
        if self._file is None:
            self._pieces.append(chunk)
            if self.size > MEMORY_LIMIT:
                self._spill()
        else:
            self._file.write(chunk)
            self._file.flush()  # a full disk shows now, and not when a copy is half sent

    def _spill(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self._directory, prefix="body-")  # noqa: SIM115 - closed in close()
        self._file.writelines(self._pieces)
        self._file.flush()
        self._pieces.clear()

    @property
    def file(self) -> IO[bytes] | None:
        """The unlinked file where the body is too large for memory; else None."""
        return self._file

    def chunks(self) -> Iterator[bytes]:
        """Read from the beginning, in pieces of at most 65535 octets or as written."""
        if self._file is None:
            yield from self._pieces
            return
        self._file.seek(0)
        while piece := self._file.read(_CHUNK):
            yield piece

    def read(self) -> bytes:
        """Read all of it into memory."""
        if self._file is None:
            return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return os.pread(self._file.fileno(), self.size, 0)

    def close(self) -> None:
        """Give the file back to the system."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
