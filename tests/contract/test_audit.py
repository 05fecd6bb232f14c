"""Record and metrics of a site as it runs: its own processes, the command line, and SQL beside them."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lab.wait import until
from tests.fakes import FakeRecord

from gatepost.app.store import host_of, open_database
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.settings import read

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


class Site:
    """A site without a mail server, under `gatepost run`."""

    def __init__(self, folder: str) -> None:
        self.directory = Path(folder, "site")
        self.config = self.directory / "gatepost.toml"
        self.gatepost("init", str(self.directory), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
        text = self.config.read_text().replace("[gateway]", '[gateway]\naliases = "none"')
        self.config.write_text(f'{text}\n[metrics]\nlisten = "unix:run/metrics.sock"\n')
        self.process: subprocess.Popen[bytes] | None = None

    def gatepost(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gatepost", "-c", str(self.config), *arguments]
        environment = os.environ | {"GATEPOST_ROOT_WARNED": "1"}
        done = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True, env=environment)
        assert "Traceback" not in done.stderr
        return done

    def start(self) -> None:
        log = (self.directory / "log").open("ab")
        command = [sys.executable, "-m", "gatepost", "-c", str(self.config), "run"]
        self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        log.close()
        until(lambda: re.search(r"^ready$", self.log(), re.MULTILINE), 60, self.log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process = None

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def write(self, number: int) -> None:
        settings = read(self.config)
        database = open_database(settings)
        writer = Writer(database, host_of(settings))
        writer.post(
            FakeRecord(*(Event(at=1.7e9, queue_id=f"Q{one}", recipient="b@p.test") for one in range(number)))
        )
        writer.close()
        database.close()

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.directory / "gatepost.db")) as connection, connection:
            return connection.execute(statement).fetchall()

    def metrics(self) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(self.directory / "run" / "metrics.sock"))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="ga-", dir="/tmp") as folder:
        site = Site(folder)
        yield site
        site.stop()


def test_the_record_of_a_running_site(site: Site) -> None:
    """
    Events are stamped while the site runs and verified by command; a change by SQL is named, by exit status 1.

    Without the key worker nothing is verified, and the command says so. The metrics tell of what waits.
    """
    site.start()
    site.write(5)
    until(lambda: "gatepost_events_unstamped 0.0" in site.metrics(), 60, site.log)
    until(lambda: site.sql("SELECT sum(last) FROM stamp") != [(None,)], 60, site.log)

    metrics = site.metrics()
    assert "gatepost_key_worker_up 1.0" in metrics
    assert 'gatepost_sessions{state="open"} 0.0' in metrics
    done = site.gatepost("audit", "verify")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "OK: 5 events are as they were written")

    site.sql("UPDATE event SET treatment = 'pass' WHERE sequence = 3")
    done = site.gatepost("audit", "verify")
    assert done.returncode == 1
    assert "changed: event 3" in done.stdout
    found = json.loads(site.gatepost("audit", "verify", "--json").stdout)
    assert found["ok"] is False
    assert [(one["fault"], one["sequence"]) for one in found["chains"][0]["breaks"]] == [("changed", 3)]
    site.sql("UPDATE event SET treatment = '' WHERE sequence = 3")

    site.sql("DELETE FROM stamp")
    site.sql("DELETE FROM event")
    assert "cut: event 1" in site.gatepost("audit", "verify").stdout

    site.stop()
    done = site.gatepost("audit", "verify")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "the key worker does not answer" in done.stderr
