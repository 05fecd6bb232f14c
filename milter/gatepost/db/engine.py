"""
The database: one door for reading, one for writing.

Rules:
  * Looking up never takes the write lock: reading connections commit each statement by itself and refuse to write.
  * Writing is one transaction: on SQLite it takes the write lock at once (BEGIN IMMEDIATE), so that two writers
    wait for each other instead of failing half-way, and a commit is on disk before it returns (synchronous=FULL).
  * What the driver raises becomes StorageError (later tries may succeed) or, where a row breaks a constraint,
    DirectoryError; one line, without the row's values and without the password.

SQLite runs in WAL mode, overwrites what is deleted (secure_delete) and checks foreign keys. For PostgreSQL see
`postgresql`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from gatepost.db import postgresql
from gatepost.errors import ConfigError, DirectoryError, StorageError

# A connection that cannot be tidied up is told by the pool with a traceback; who uses it is told anyway.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

BUSY_SECONDS = 10
_WRITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
    "PRAGMA foreign_keys=ON",
)
_REMEDIES = {  # by the words of SQLite
    "disk I/O error": "is the disk full? Is it broken?",
    "database or disk is full": "is the disk full? Make room",
    "file is not a database": "restore a backup",
    "malformed": "restore a backup",
    "unable to open": "is its folder there, and may this user write in it?",
    "readonly": "may this user write to the file and in its folder?",
}
TAKE_WRITE_LOCK = "BEGIN IMMEDIATE"
_READ_PRAGMAS = ("PRAGMA query_only=ON",)


class Database:
    """One database, SQLite or PostgreSQL. Thread-safe; opens connections when they are first needed."""

    def __init__(self, url: str, password: str = "") -> None:
        """
        Take an SQLAlchemy URL, and the password for one that has none.

        Raises ConfigError for a URL that cannot be used here.
        """
        self.url = _read_url(url)
        if password and self.url.password is None:
            self.url = self.url.set(password=password)
        self.name = self.url.set(query={}).render_as_string(hide_password=True)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.reader = _engine(self.url, reading=True)
        self.writer = _engine(self.url, reading=False)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database, else None."""
        return Path(self.url.database or "") if self.is_sqlite else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection for look-ups; raises StorageError."""
        try:
            with self.reader.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self.storage_error(error) from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in one transaction, committed at the end; raises StorageError or DirectoryError."""
        try:
            with self.writer.begin() as connection:
                yield connection
        except (IntegrityError, DataError) as error:
            raise self.refusal(error) from error
        except SQLAlchemyError as error:
            raise self.storage_error(error) from error

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.reader.dispose()
        self.writer.dispose()

    def storage_error(self, error: Exception) -> StorageError:
        """Give what the driver or SQLAlchemy raised as an error of ours: one line, without values or password."""
        told = _told(error)
        remedy = next((remedy for words, remedy in _REMEDIES.items() if words in told), "")
        return StorageError(f"the database {self.name} failed: {told}{remedy and f'; {remedy}'}")

    @staticmethod
    def refusal(error: Exception) -> DirectoryError:
        """Give a broken constraint, as the driver or SQLAlchemy raised it, as an error of ours, likewise."""
        return DirectoryError(f"the database refuses the row: {_told(error)}")


def _read_url(text: str) -> URL:
    try:
        url = make_url(text)
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):  # whose texts may hold a part of the password
        raise ConfigError(
            "database.url is not a database URL; use sqlite:////absolute/path or postgresql+psycopg://host/name"
        ) from None
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ConfigError(
            f"database.url: {url.get_backend_name()} is not supported; use sqlite or postgresql+psycopg"
        )
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_absolute():
        raise ConfigError(
            "database.url: give SQLite's file as an absolute path: sqlite:////var/lib/gatepost/gatepost.db"
        )
    return url


def _engine(url: URL, *, reading: bool) -> Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"hide_parameters": True, "pool_use_lifo": True}
    options |= _sqlite_options() if is_sqlite else postgresql.engine_options(url)
    if reading:
        options |= {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
    try:
        engine = create_engine(url, **options)
    except ImportError as error:
        raise ConfigError(
            f"database.url needs a driver that is not installed ({error}): install Gatepost with [postgresql]"
        ) from error
    prepare = _prepare_sqlite if is_sqlite else postgresql.prepare
    prepare(engine, reading=reading)
    return engine


def _sqlite_options() -> dict[str, Any]:
    # A pool as large as the milter's usual number of threads: opening a connection costs more than a look-up.
    return {
        "pool_size": 32,
        "max_overflow": 96,
        "connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False},
    }


def _prepare_sqlite(engine: Engine, *, reading: bool) -> None:
    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        connection.isolation_level = None  # the driver begins nothing on its own
        for pragma in _READ_PRAGMAS if reading else _WRITE_PRAGMAS:
            connection.execute(pragma)

    if not reading:

        @event.listens_for(engine, "begin")
        def take_write_lock(connection: Connection) -> None:
            connection.exec_driver_sql(TAKE_WRITE_LOCK)


def _told(error: Exception) -> str:
    return postgresql.told(getattr(error, "orig", None) or error)
