"""The proof that a milter lives goes through its writer: a writer that is stuck is seen."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.wait import until
from tests.fakes import World

from gatepost.db import schema
from gatepost.db.engine import Database
from gatepost.db.writer import Writer
from gatepost.errors import StorageError
from gatepost.gateway.despatch import Despatch


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    database = Database(f"sqlite:///{tmp_path}/gatepost.db")
    schema.upgrade(database)
    writer = Writer(database, "here")
    yield writer
    writer.close()
    database.close()


def _despatch(writer: Writer) -> Despatch:
    world: Any = World()
    return Despatch(records=writer, holder=world, submitter=world, telling=world)


def _proven(despatch: Despatch) -> threading.Event:
    done = threading.Event()

    def prove() -> None:
        despatch.prove_alive()
        done.set()

    threading.Thread(target=prove, daemon=True).start()
    return done


def test_a_writer_at_work_proves_life(writer: Writer) -> None:
    """The proof comes back once the writer has had its turn."""
    assert _proven(_despatch(writer)).wait(30)


def test_a_database_that_fails_is_no_death(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that can tell that its database is down lives: a new one could do no better."""

    def fail(*_: object) -> None:
        raise StorageError("down")

    monkeypatch.setattr(writer._direct, "write", fail)

    assert _proven(_despatch(writer)).wait(30)


def test_a_writer_that_is_stuck_proves_nothing(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the writer's thread hangs, the proof does not come back."""
    stuck, released = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        stuck.set()
        released.wait()

    monkeypatch.setattr(writer._direct, "write", hang)
    done = _proven(_despatch(writer))

    until(stuck.is_set, 30, "the writer takes its turn")
    assert not done.wait(1)
    released.set()
    assert done.wait(30)
