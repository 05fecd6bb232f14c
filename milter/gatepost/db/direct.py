"""
The driver, used directly for what every message needs: SQLAlchemy's own objects cost more than SQLite's work.

Connections come from the database's engines, so they are set up like all others. Those to SQLite are kept; those
to PostgreSQL go back to the engine's pool, which bounds them and tries each before it is used. What the driver
raises becomes StorageError or DirectoryError, as in `engine`; a connection that failed is given up.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from gatepost.db.engine import TAKE_WRITE_LOCK, Database

Batch = tuple[str, Sequence[Any]]
"""An INSERT of one row, and the parameters of each row."""

_TOGETHER = 16  # rows of one statement
_VALUES = re.compile(r"VALUES (\([^()]*\))")


class DirectReader:
    """Looks rows up. Thread-safe: each look-up under way has a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: deque[PoolProxiedConnection] = deque()

    def first(self, sql: str, parameters: Any) -> Any:  # noqa: ANN401 - the driver's own types
        """Give the first row, or None; raises StorageError."""
        return self._ask(sql, parameters, lambda cursor: cursor.fetchone())

    def all(self, sql: str, parameters: Any) -> Any:  # noqa: ANN401 - the driver's own types
        """Give every row; raises StorageError."""
        return self._ask(sql, parameters, lambda cursor: cursor.fetchall())

    def _ask(self, sql: str, parameters: Any, fetch: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - the same
        try:
            connection = self._take()
            try:
                cursor = connection.cursor()
                cursor.execute(sql, parameters)
                found = fetch(cursor)
                cursor.close()
            except BaseException:
                connection.invalidate()
                raise
        except Exception as error:
            _translate(error, self._database, self._database.reader)
            raise
        if self._database.is_sqlite:
            self._idle.append(connection)
        else:
            connection.close()
        return found

    def _take(self) -> PoolProxiedConnection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._database.reader.raw_connection()


class DirectWriter:
    """Writes rows, each call in one transaction. For one thread alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: PoolProxiedConnection | None = None

    def write(self, batches: Iterable[Batch]) -> None:
        """Write all rows, on disk before this returns, or none; raises StorageError or DirectoryError."""
        try:
            try:
                self._write(batches)
            except BaseException:
                self.close()
                raise
        except Exception as error:
            _translate(error, self._database, self._database.writer)
            raise

    def _write(self, batches: Iterable[Batch]) -> None:
        if self._connection is None:
            self._connection = self._database.writer.raw_connection()
        cursor = self._connection.cursor()
        if self._database.is_sqlite:
            _execute(self._connection, cursor, [one for sql, rows in batches for one in _inserts(sql, rows)])
            cursor.close()
            return
        for sql, rows in batches:
            if rows:
                cursor.executemany(sql, rows)
        self._connection.commit()
        cursor.close()
        self._connection.close()
        self._connection = None

    def close(self) -> None:
        """Give the connection up; what was not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.rollback()
            finally:
                connection.invalidate()


def _execute(connection: Any, cursor: Any, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:  # noqa: ANN401 - the driver's own types
    """Execute all in one transaction of SQLite; a statement alone is one, and takes the lock as it begins."""
    if len(statements) > 1:
        cursor.execute(TAKE_WRITE_LOCK)
    for sql, parameters in statements:
        cursor.execute(sql, parameters)
    if len(statements) > 1:
        connection.commit()


def _inserts(sql: str, rows: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Give statements of many rows: for each the driver gives the interpreter's lock away and wins it back."""
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        yield _widened(sql, len(some)), tuple(chain.from_iterable(some))


@cache
def _widened(sql: str, rows: int) -> str:
    """Give an INSERT of one row for several."""
    return _VALUES.sub(lambda found: "VALUES " + ", ".join([found[1]] * rows), sql)


def _translate(error: Exception, database: Database, engine: Engine) -> None:
    """Raise an error of ours for what the driver or SQLAlchemy raised; any other error is left alone."""
    driver = engine.dialect.loaded_dbapi
    if isinstance(error, (driver.IntegrityError, driver.DataError)):
        raise database.refusal(error) from error
    if isinstance(error, (driver.Error, SQLAlchemyError)):
        raise database.storage_error(error) from error
