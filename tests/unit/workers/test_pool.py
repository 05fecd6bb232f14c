"""Large messages are encrypted in other processes, with the same result."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pysequoia
import pytest

from gatepost.errors import CryptoError, WorkerError
from gatepost.workers.pool import Pool

LARGE = os.urandom(1 << 20)
KEY = pysequoia.Tsk.generate("A <a@hosp.test>", validity_seconds=3600)
CERTIFICATE = bytes(KEY.extract_certificate())


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool("sequoia", workers=1)
    yield pool
    pool.close()


def nothing() -> None:
    """Wait on."""


def pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + 65536] for start in range(0, len(data), 65536))


@pytest.mark.parametrize(
    "data",
    [b"", b"small", LARGE, LARGE[1:], LARGE[2:], LARGE[: 600 << 10]],
    ids=["empty", "small", "large", "large less 1", "large less 2", "600 KiB"],
)
def test_any_size_decrypts_to_what_went_in(pool: Pool, data: bytes) -> None:
    """On the spot or in another process: the armor decrypts to exactly the message."""
    body = pool.encrypt(pieces(data), [CERTIFICATE], nothing)

    armor = body.read()
    assert pysequoia.decrypt(armor, KEY.decryptor()).bytes == data
    assert body.size == len(armor)
    assert b"".join(body.chunks()) == armor


def test_nothing_is_left_on_disk(tmp_path: Path) -> None:
    """Neither plaintext nor armor ever has a name in the spool directory."""
    pool = Pool("sequoia", directory=tmp_path, workers=1)
    seen: set[str] = set()

    def look() -> Iterator[bytes]:
        for piece in pieces(LARGE):
            seen.update(os.listdir(tmp_path))  # noqa: PTH208 - names are all that counts
            yield piece

    body = pool.encrypt(look(), [CERTIFICATE], nothing)

    assert body.size > len(LARGE)
    assert not seen | set(os.listdir(tmp_path))  # noqa: PTH208 - the same
    pool.close()


def test_a_refused_key_is_refused_there_too(pool: Pool) -> None:
    """The guard holds in the other process, and its words come back."""
    signer = pysequoia.Tsk.generate("old", validity_seconds=1).extract_certificate()
    threading.Event().wait(2.1)

    with pytest.raises(CryptoError, match="expired"):
        pool.encrypt(pieces(LARGE), [bytes(signer)], nothing)


def test_a_dead_process_is_temporary(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies makes the message be tried again; the next message gets a new process."""
    with monkeypatch.context() as patch:
        patch.setattr(Pool, "_in_process", _dying)
        with pytest.raises(WorkerError, match="died"):
            pool.encrypt(pieces(LARGE), [CERTIFICATE], nothing)

    assert pool.encrypt(pieces(LARGE), [CERTIFICATE], nothing).size > len(LARGE)


def _dying(pool: Pool, *_: object) -> None:
    pool._processes.run(os._exit, 3, on_wait=nothing)
