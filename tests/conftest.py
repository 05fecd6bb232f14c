"""Servers that the tests share: one of each per test process, started when first asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.gpg import Gpg
from lab.place import short_folder
from lab.town import Town, town


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
