"""The two doors to the database: reading and writing."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.db import engine
from gatepost.db.engine import Database
from gatepost.errors import ConfigError, DirectoryError, StorageError


def test_reading_goes_on_while_another_writes(database: Database) -> None:
    """A look-up never waits for the write lock."""
    with database.writing() as writing:
        writing.exec_driver_sql("INSERT INTO partner (pattern) VALUES ('a.test')")
        with database.reading() as reading:
            assert reading.exec_driver_sql("SELECT count(*) FROM partner").scalar() == 0


def test_reading_cannot_write(database: Database) -> None:
    """A look-up that tried to write would be refused."""
    with pytest.raises(StorageError, match=r"read-?only"), database.reading() as reading:
        reading.exec_driver_sql("INSERT INTO partner (pattern) VALUES ('a.test')")


def test_writing_takes_the_lock_at_once(sqlite: Database, file: Path) -> None:
    """Two writers wait for each other at the start, not half-way."""
    other = sqlite3.connect(file, timeout=0)
    with sqlite.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_writing_is_durable_and_overwrites_what_is_deleted(sqlite: Database) -> None:
    """A commit is on disk before it returns; deleted rows leave nothing behind; foreign keys are checked."""
    expected = {"synchronous": 2, "secure_delete": 1, "foreign_keys": 1, "journal_mode": "wal"}
    with sqlite.writing() as writing:
        actual = {name: writing.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}

    assert expected == actual


def test_error_ends_the_transaction(database: Database, sql: Callable[..., list[tuple[object, ...]]]) -> None:
    """What raises half-way leaves nothing written."""
    with pytest.raises(ZeroDivisionError), database.writing() as writing:  # noqa: PT012 - two steps are the point
        writing.exec_driver_sql("INSERT INTO partner (pattern) VALUES ('a.test')")
        raise ZeroDivisionError

    assert sql("SELECT * FROM partner") == []


def test_locked_database_is_a_storage_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another holds locked is a temporary error of one line."""
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    impatient = Database(f"sqlite:///{file}")
    other = sqlite3.connect(file)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="database is locked") as caught, impatient.writing():
        pass
    other.close()
    impatient.close()

    assert caught.value.temporary
    assert len(caught.value.diagnostics()) == 1


def test_broken_constraint_names_it_without_values(database: Database) -> None:
    """A refused row is told by its constraint, not by what it holds."""
    with (
        pytest.raises(DirectoryError, match="demand_is_none_tls_or_encrypt") as caught,
        database.writing() as writing,
    ):
        writing.exec_driver_sql("INSERT INTO partner (pattern, demand) VALUES ('secret.test', 'x')")

    assert "secret" not in str(caught.value)


def test_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the database, as errors show it, holds no password."""
    monkeypatch.setattr(engine, "_engine", lambda *_args, **_options: None)

    assert "hush" not in Database("postgresql+psycopg://gatepost:hush@db.test/gatepost").name


@pytest.mark.parametrize("url", ["postgresql+psycopg://gatepost:pass@word:x/y@db.test/d", "oracle://x:word@h"])
def test_an_unusable_url_is_not_told(url: str) -> None:
    """A password that makes a URL unreadable does not stand in the error, nor behind it."""
    with pytest.raises(ConfigError, match=r"database\.url") as caught:
        Database(url)

    assert "word" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///relative.db", "oracle://x"]
)
def test_unusable_url(url: str) -> None:
    """A URL that cannot be used is an error of the settings, and names the key."""
    with pytest.raises(ConfigError, match=r"database\.url"):
        Database(url)
