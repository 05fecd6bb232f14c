"""Blobs in a directory: whole or not at all, for the owner's eyes only."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gatepost.errors import ConfigError, StorageError
from gatepost.vault.blobs import DirectoryBlobs, directory_of

NAME = UUID(int=7)


def test_round_trip(tmp_path: Path) -> None:
    """What is written is read back; the file is readable by its owner alone; nothing else is left."""
    blobs = DirectoryBlobs(tmp_path)
    blobs.write(NAME, [b"one", b"", b"two" * 100_000])
    assert b"".join(blobs.read(NAME)) == b"one" + b"two" * 100_000
    assert [path.name for path in tmp_path.iterdir()] == [str(NAME)]
    assert (tmp_path / str(NAME)).stat().st_mode & 0o777 == 0o600


def test_private_under_any_umask(tmp_path: Path) -> None:
    """The mode does not hang on the process's umask."""
    before = os.umask(0)
    try:
        DirectoryBlobs(tmp_path).write(NAME, [b"x"])
    finally:
        os.umask(before)
    assert (tmp_path / str(NAME)).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), ValueError("a bug")])
def test_failure_leaves_nothing(tmp_path: Path, failure: Exception) -> None:
    """A blob that could not be written whole is not there at all."""

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise failure

    with pytest.raises((StorageError, ValueError)):
        DirectoryBlobs(tmp_path).write(NAME, chunks())
    assert list(tmp_path.iterdir()) == []


def test_missing_blob(tmp_path: Path) -> None:
    """Reading what is not there is an error; deleting it is none."""
    blobs = DirectoryBlobs(tmp_path)
    with pytest.raises(StorageError, match="holds no blob"):
        list(blobs.read(uuid4()))
    blobs.delete(uuid4())


def test_deleted_blob_is_gone(tmp_path: Path) -> None:
    """After deleting, nothing is left."""
    blobs = DirectoryBlobs(tmp_path)
    blobs.write(NAME, [b"x"])
    blobs.delete(NAME)
    assert list(tmp_path.iterdir()) == []


def test_unusable_directory(tmp_path: Path) -> None:
    """A vault that is not there is a StorageError naming it, on every call."""
    blobs = DirectoryBlobs(tmp_path / "absent")
    with pytest.raises(StorageError, match="absent"):
        blobs.write(NAME, [b"x"])
    with pytest.raises(StorageError):
        blobs.delete(NAME)


def test_directory_of_url() -> None:
    """Only a local file URL with an absolute path names a directory."""
    assert directory_of("file:///var/lib/a%20b") == Path("/var/lib/a b")
    for url in ("s3://bucket/x", "file://host/x", "/var/lib/x", "file:x", "file:///x?y"):
        with pytest.raises(ConfigError, match="file:///"):
            directory_of(url)
