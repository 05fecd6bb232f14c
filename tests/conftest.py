"""Servers that the tests share: one of each per test process, started when first asked for."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from lab.gpg import Gpg
from lab.place import short_folder
from lab.postgresql import PostgreSQL
from lab.town import Town, town

from gatepost.db import schema
from gatepost.db.engine import Database

settings.register_profile("gatepost", deadline=None)  # a busy host is no fault
settings.load_profile("gatepost")

ENGINES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.real))
"""What a fixture takes for `params` whose tests run on both engines."""


@pytest.fixture(scope="session")
def lab_folder() -> Iterator[Path]:
    """Give a short path that Postfix's users may enter; gone after the session."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def outside_gpg(lab_folder: Path) -> Iterator[Gpg]:
    """Give a GnuPG home of the outside world."""
    gpg = Gpg(lab_folder / "gpg")
    yield gpg
    gpg.close()


@pytest.fixture(scope="session")
def shared_town(lab_folder: Path) -> Iterator[Town]:
    """Give the town of lab.town, running."""
    folder = lab_folder / "town"
    folder.mkdir()
    with town(folder) as built:
        yield built


@pytest.fixture
def the_town(shared_town: Town) -> Iterator[Town]:
    """Give the shared town with empty sinks."""
    shared_town.clear()
    yield shared_town
    shared_town.clear()


@pytest.fixture(scope="session")
def postgresql(lab_folder: Path) -> Iterator[PostgreSQL]:
    """Give a running PostgreSQL whose database `migrated` has the newest schema and stays as it is."""
    with PostgreSQL(lab_folder / "pg") as server:
        _migrate(server.create_database("migrated"))
        yield server


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an SQLite file that has the newest schema and stays as it is."""
    file = tmp_path_factory.mktemp("schema") / "gatepost.db"
    _migrate(f"sqlite:///{file}")
    return file


def _migrate(url: str) -> None:
    database = Database(url)
    schema.upgrade(database)
    database.close()


_numbers = itertools.count(1)


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """
    Give a function that makes a database of an engine and gives its URL.

    It has the newest schema, or nothing with `empty=True`.
    """
    made: list[tuple[PostgreSQL, str]] = []

    def make(engine: str, *, empty: bool = False) -> str:
        name = f"test{next(_numbers)}"
        if engine == "sqlite":
            file = tmp_path / f"{name}.db"
            if not empty:
                shutil.copy(request.getfixturevalue("migrated"), file)
            return f"sqlite:///{file}"
        server: PostgreSQL = request.getfixturevalue("postgresql")
        made.append((server, name))
        return server.create_database(name, "template0" if empty else "migrated")

    yield make
    for server, name in made:
        server.drop_database(name)


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Give a function that has a line of numbers printed in pytest's summary, passed or failed."""
    return lambda line: record_property("counted", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests counted."""
    reports = [report for group in ("passed", "failed") for report in terminalreporter.getreports(group)]
    lines = [str(value) for report in reports for key, value in report.user_properties if key == "counted"]
    if lines:
        terminalreporter.section("counted")
        for line in sorted(lines):
            terminalreporter.line(line)
