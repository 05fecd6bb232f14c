"""
A service that cannot start says why in one clear line, with exit status 1, and leaves nothing half done.

A full disk is a file size limit of nothing here: every write fails, as it does there.
"""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from lab.place import short_folder
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_SERVICES = ("milter", "keys", "policy")


def _gatepost(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "gatepost", *map(str, arguments)],
        capture_output=True,
        check=False,
        timeout=120,
        env=os.environ | {"GATEPOST_ROOT_WARNED": "1"},
    )


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """Give a site as `gatepost init` makes it."""
    with short_folder() as folder:
        done = _gatepost("init", folder / "site", "--domain", "hosp.test", "--hostname", "gw.hosp.test")
        assert done.returncode == 0, done.stderr
        yield folder / "site"


@pytest.fixture
def database(made: Path) -> Iterator[Path]:
    """Give the site's database, which is mended afterwards."""
    file, kept = made / "gatepost.db", made / "kept"
    shutil.copy(file, kept)
    yield file
    for left in made.glob("gatepost.db*"):
        left.unlink()
    kept.rename(file)


def _gone(file: Path) -> None:
    file.unlink()


def _older(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()


def _later(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _rubbish(file: Path) -> None:
    file.write_bytes(os.urandom(5000))


def _torn(file: Path) -> None:
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xaa" * 8192)


def _run(made: Path, service: str) -> subprocess.CompletedProcess[bytes]:
    return _gatepost("-c", made / "gatepost.toml", "run", *([service] if service != "all" else []))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_gone, b"is not there"),
        (_older, b"has the older schema 0001: run `gatepost db upgrade`"),
        (_later, b"has the schema 9999 of a later Gatepost"),
        (_empty, b"has no Gatepost schema: run `gatepost db upgrade`"),
        (_rubbish, b"file is not a database"),
        (_torn, b"malformed"),
    ],
)
def test_a_database_that_cannot_be_used(
    made: Path, database: Path, harm: Callable[[Path], None], told: bytes
) -> None:
    """Each service names the database and what to do about it."""
    harm(database)

    with ThreadPoolExecutor() as pool:
        for done in pool.map(lambda service: _run(made, service), _SERVICES):
            assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
            assert done.stderr.startswith(b"gatepost: the database ")
            assert told in done.stderr


def test_all_services_together(made: Path, database: Path) -> None:
    """Under the supervisor the service's own line comes first, then one that names the service."""
    _older(database)

    done = _run(made, "all")

    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert b"older schema" in first
    assert second == b"gatepost: the service keys did not start: see its own message above"


def test_a_full_disk(made: Path, database: Path) -> None:
    """Each service says that the disk is full, or broken; once it is not, all start as if nothing had been."""
    with ThreadPoolExecutor() as pool:
        for done in pool.map(lambda service: _full_disk(made, service), _SERVICES):
            assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
            assert done.stderr.startswith(f"gatepost: the database sqlite:///{database} failed: ".encode())
            assert b"is the disk full?" in done.stderr
    _starts(made)


def _full_disk(made: Path, service: str) -> subprocess.CompletedProcess[bytes]:
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
        "sys.argv = ['gatepost', '-c', sys.argv[1], 'run', sys.argv[2]]; "
        "runpy.run_module('gatepost', run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", limited, str(made / "gatepost.toml"), service],
        capture_output=True,
        check=False,
        timeout=120,
        env=os.environ | {"GATEPOST_ROOT_WARNED": "1"},
    )


def _starts(made: Path) -> None:
    with (made / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gatepost", "-c", str(made / "gatepost.toml"), "run"], stderr=log
        )
        try:
            until(lambda: b"ready\n" in (made / "log").read_bytes(), 120, "all services are ready")
        finally:
            process.terminate()
            assert process.wait(60) == 0


def test_a_socket_that_cannot_be_made(made: Path) -> None:
    """A folder that is missing, or more sessions than this host has open files for: one line names the setting."""
    config = made / "gatepost.toml"
    text = config.read_text()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        config.write_text(text.replace(str(made / "run" / "milter.sock"), "/nonexistent/milter.sock"))
        done = _run(made, "milter")
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
        assert (
            b"gatepost: gateway.socket: the milter cannot listen at unix:/nonexistent/milter.sock" in done.stderr
        )
        if hard != resource.RLIM_INFINITY and hard < 40_000:
            config.write_text(text.replace("[gateway]", "[gateway]\nmax_sessions = 10000"))
            done = _run(made, "milter")
            assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
            assert b"gateway.max_sessions = 10000" in done.stderr
    finally:
        config.write_text(text)
