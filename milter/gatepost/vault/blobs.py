"""
Blobs: sealed bytes under a name, in a directory or wherever else the vault lies.

A blob is there whole or not at all: it is written beside its name, synced, then renamed, and the directory is
synced before `write` gives control back. Names are UUIDs, so nothing that a sender wrote becomes a path.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

from gatepost.errors import ConfigError, StorageError

_CHUNK = 1 << 16
_PRIVATE = 0o600


class Blobs(Protocol):
    """Keeps blobs. Thread-safe; raises StorageError."""

    def write(self, name: UUID, chunks: Iterable[bytes]) -> None:
        """Write a blob that is not there yet; gives control back once it is durable, else leaves nothing."""

    def read(self, name: UUID) -> Iterator[bytes]:
        """Read a blob from the beginning, in pieces of at most 64 KiB."""

    def delete(self, name: UUID) -> None:
        """Delete a blob; one that is not there is no error."""


class DirectoryBlobs:
    """Blobs as files of a local directory, readable by their owner alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: UUID, chunks: Iterable[bytes]) -> None:
        """Write a blob that is not there yet; gives control back once it is durable, else leaves nothing."""
        partial = self._directory / f".{name}.part"
        try:
            with _removed_on_failure(partial):
                _write_synced(partial, chunks)
                partial.rename(self._directory / str(name))
            self._sync()
        except OSError as error:
            raise self._failed(error) from error

    def read(self, name: UUID) -> Iterator[bytes]:
        """Read a blob from the beginning, in pieces of at most 64 KiB."""
        try:
            with (self._directory / str(name)).open("rb") as file:
                while piece := file.read(_CHUNK):
                    yield piece
        except FileNotFoundError as error:
            raise StorageError(f"the vault {self._directory} holds no blob {name}") from error
        except OSError as error:
            raise self._failed(error) from error

    def delete(self, name: UUID) -> None:
        """Delete a blob; one that is not there is no error."""
        try:
            (self._directory / str(name)).unlink(missing_ok=True)
            self._sync()
        except OSError as error:
            raise self._failed(error) from error

    def _sync(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"the vault {self._directory} failed: {error.strerror or error}")


def directory_of(url: str) -> Path:
    """Give the directory that the setting `vault.url` names; raises ConfigError for any other kind of URL."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc or not path.is_absolute() or parts.query or parts.fragment:
        raise ConfigError(f"vault.url: {url!r} is not a local directory; use file:///absolute/path")
    return path


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise


def _write_synced(path: Path, chunks: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
