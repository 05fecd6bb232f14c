"""The spool."""

import os
from pathlib import Path

import pytest

from gatepost.message.body import MEMORY_LIMIT, MemoryBody, Spool


@pytest.mark.parametrize("size", [0, 1, MEMORY_LIMIT, MEMORY_LIMIT + 1, 3 * MEMORY_LIMIT])
def test_gives_back_what_was_written_again_and_again(tmp_path: Path, size: int) -> None:
    """Small or large, the body reads the same every time."""
    data = os.urandom(size)
    spool = Spool(tmp_path)
    for start in range(0, size, 65535):
        spool.write(data[start : start + 65535])

    assert data == spool.read() == b"".join(spool.chunks()) == spool.read()
    assert size == spool.size
    spool.close()


def test_a_large_body_leaves_no_name_behind(tmp_path: Path) -> None:
    """The file is unlinked from the start: nothing of a message outlives the process."""
    spool = Spool(tmp_path)
    spool.write(b"x" * (MEMORY_LIMIT + 1))

    assert spool.file is not None
    assert [] == list(tmp_path.iterdir())
    spool.close()


def test_what_was_written_is_with_the_system(tmp_path: Path) -> None:
    """A full disk shows while a body is written, never later, when part of the message has gone already."""
    spool = Spool(tmp_path)
    spool.write(b"x" * (MEMORY_LIMIT + 1))
    spool.write(b"y")

    assert spool.file is not None
    assert spool.size == os.fstat(spool.file.fileno()).st_size
    spool.close()


def test_memory_body_chunks_join_to_the_whole() -> None:
    """A body in memory is cut into pieces that join to it."""
    data = os.urandom(200_000)

    assert data == b"".join(MemoryBody(data).chunks())
