"""
A private PostgreSQL: a cluster of its own in one folder, on loopback and a UNIX socket, as durable as a real one.

A server refuses to run as root: for root it runs as the user `postgres` that Debian's package makes. Over the UNIX
socket every role is believed, over TCP it must show its password.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.place import free_port, note
from lab.wait import until

_SYSTEM = "postgres"
ROLE = "gatepost"
PASSWORD = "hush-hush"  # noqa: S105 - of a throw-away server
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "unix_socket_permissions": "0777",
    "timezone": "Pacific/Chatham",  # nothing may rely on the server's
}


class PostgreSQL:
    """One cluster. Use it as a context manager, or call `start` and `stop`; entering makes it."""

    def __init__(self, folder: Path) -> None:
        """Take a folder that is not there yet; other users must be able to enter the one above."""
        self.folder = folder
        self.port = free_port()
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _SYSTEM if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    def create(self) -> Self:
        """Make the cluster and the role that Gatepost uses; leaves the server running."""
        self.folder.mkdir()
        shutil.chown(self.folder, self._user)
        initdb = ("initdb", "--no-locale", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256")
        self._run(*initdb, "--no-sync", f"--username={_SYSTEM}", str(self._data))
        self.start()
        self.psql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        return self

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self._data, "-k", self.folder, "-p", str(self.port), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_identity(self._user),
            )
        note("group", self._process.pid)
        until(self._ready, 60, lambda: f"PostgreSQL takes connections; it said:\n{self._log.read_text()[-3000:]}")

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended at once; it said:\n{self._log.read_text()[-3000:]}")
        asked = [_program("pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        return subprocess.run(asked, check=False, timeout=10).returncode == 0

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """Stop at once, ending every connection; SIGQUIT leaves recovery to the next start, as a crash does."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(sign)
        try:
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            note("ended", process.pid)

    def psql(self, sql: str, database: str = _SYSTEM, *, role: str = _SYSTEM) -> str:
        """Run SQL as an admin does; gives the rows, columns set apart by `|`. Raises RuntimeError."""
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", role, "-d", database]
        return self._run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *where, "-f", "-", data=sql.encode())

    def dump(self, database: str) -> str:
        """Give the database's schema as pg_dump writes it."""
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", _SYSTEM]
        return self._run("pg_dump", "--schema-only", *where, database)

    def create_database(self, name: str, template: str = "template0") -> str:
        """Make a database that Gatepost's role owns; gives its URL."""
        self.psql(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Take a database away, whoever is connected."""
        self.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        """Give the URL of a database over the UNIX socket, where no password is asked for."""
        return f"postgresql+psycopg://{ROLE}@/{database}?host={self.folder}&port={self.port}"

    def _run(self, program: str, *arguments: str, data: bytes = b"") -> str:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            [_program(program), *arguments],
            input=data,
            capture_output=True,
            check=False,
            cwd=self.folder,
            timeout=120,
            **_identity(self._user),
        )
        if done.returncode:
            raise RuntimeError(f"{program}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    def __enter__(self) -> Self:
        return self.create()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _program(name: str) -> str:
    """Find a program; Debian keeps the server's beside the path, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    there = str(found[-1]) if found else shutil.which(name)
    if there is None:
        raise RuntimeError(f"{name} is not there; install Debian's package `postgresql`")
    return there


def _identity(user: str) -> dict[str, Any]:
    """Give what makes a child process run as this user, and no other rights with it."""
    if os.geteuid() != 0:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
