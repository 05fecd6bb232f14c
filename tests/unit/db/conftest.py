"""A database of one's own for each test, on either engine, with the newest schema."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from tests.conftest import ENGINES

from gatepost.db.engine import Database

Rows = list[tuple[Any, ...]]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    return new_database(request.param)


@pytest.fixture
def file(new_database: Callable[[str], str]) -> Path:
    """Give the file of an SQLite database."""
    return Path(make_url(new_database("sqlite")).database or "")


@pytest.fixture
def sqlite(file: Path) -> Iterator[Database]:
    """Give the database in `file`."""
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def sql(url: str) -> Callable[..., Rows]:
    """Run SQL beside us, as an admin with the shell of sqlite3 or psql does."""

    def run(statement: str, *values: object) -> Rows:
        if url.startswith("sqlite"):
            return _in_sqlite(make_url(url).database or "", statement, values)
        return _in_postgresql(url.replace("+psycopg", ""), statement.replace("?", "%s"), values)

    return run


@pytest.fixture(params=ENGINES)
def attempt(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Run SQL and take it back: what must be refused needs no database of its own."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{request.getfixturevalue('migrated')}")
    else:
        database = Database(request.getfixturevalue("postgresql").url("migrated"))

    def run(statement: str, *values: object) -> None:
        mark = "?" if database.is_sqlite else "%s"
        with suppress(_Undone), database.writing() as connection:
            connection.exec_driver_sql(statement.replace("?", mark), values)
            raise _Undone

    yield run
    database.close()


class _Undone(Exception):  # noqa: N818 - nothing went wrong
    """Takes a transaction back."""


def _in_sqlite(file: str, statement: str, values: tuple[object, ...]) -> Rows:
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def _in_postgresql(url: str, statement: str, values: tuple[object, ...]) -> Rows:
    import psycopg  # noqa: PLC0415 - only this engine needs it

    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
