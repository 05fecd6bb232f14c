"""
What is measured: our policy service, and postfix-mta-sts-resolver with each of two caches, over the same domains.

Half of the domains have an MTA-STS policy that is in everybody's cache from the start, half do not exist. DNS is a
process that answers "no such domain" to everything, without reading much of it: it costs as little as DNS can.
"""

import contextlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.place import free_port, note

from bench.policy_client import Question
from gatepost.db.discoveries import SqlDiscoveries
from gatepost.db.engine import Database
from gatepost.transport.capability import Discovery, Method

NAMES = ("gatepost", "memory", "sqlite")
_DOMAINS = 500
_KNOWN = [f"p{number}.test" for number in range(_DOMAINS)]
_SETTINGS = """\
[gateway]
internal_domains = ["hosp.test"]
[database]
url = "{url}"
[policy]
socket = "unix:{socket}"
[dns]
resolvers = ["127.0.0.1#{port}"]
"""


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its name, its socket, its table."""

    name: str
    socket: Path
    table: str

    def known(self) -> list[Question]:
        """Give questions for domains that have a policy."""
        return [
            Question.of(self.table, domain, f"OK secure match=mx.{domain} servername=hostname")
            for domain in _KNOWN
        ]

    def unknown(self) -> list[Question]:
        """Give questions for domains that do not exist."""
        return [Question.of(self.table, f"n{number}.test", "NOTFOUND ") for number in range(_DOMAINS)]


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[list[Service]]:
    """Start all services; stopped at the end."""
    with ExitStack() as stack:
        port = stack.enter_context(_dns())
        services = [Service("gatepost", _gatepost(stack, folder, port), "sts")]
        stored = {"type": "sqlite", "options": {"filename": str(folder / "sts.db")}}
        for name, cache in (("memory", {"type": "internal"}), ("sqlite", stored)):
            path, world = folder / f"{name}.sock", folder / f"{name}.json"
            known = {domain: [f"mx.{domain}"] for domain in _KNOWN}
            about = {"path": str(path), "cache": cache, "dns": port, "known": known, "grace": 3600}
            world.write_text(json.dumps(about))
            stack.enter_context(_daemon(sys.executable, "-m", "lab.mta_sts_daemon", str(world)))
            services.append(Service(name, path, "sts"))
        yield services


def _gatepost(stack: ExitStack, folder: Path, port: int) -> Path:
    """Start our service: a site's database, made by its own command, and its own process."""
    path, config = folder / "policy.sock", folder / "gatepost.toml"
    url = f"sqlite:///{folder / 'gatepost.db'}"
    config.write_text(_SETTINGS.format(url=url, socket=path, port=port))
    command = [sys.executable, "-m", "gatepost", "--config", str(config)]
    subprocess.run([*command, "db", "upgrade"], check=True, capture_output=True)
    database = Database(url)
    kept = SqlDiscoveries(database)
    none = Method(assured=False)
    for domain in _KNOWN:
        sts = Method(assured=True, policy=f"secure match=mx.{domain} servername=hostname")
        kept.keep(Discovery(domain, (f"mx.{domain}",), none, sts, (), 3600), datetime.now(UTC))
    database.close()
    stack.enter_context(_daemon(*command, "run", "policy"))
    return path


@contextlib.contextmanager
def _daemon(*command: str) -> Iterator[None]:
    """Run a service that prints `ready` once it serves, on stdout or stderr."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0) as process:
        note("group", process.pid)
        assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
        said = b""
        for line in process.stdout:
            said += line
            if line.rstrip() == b"ready":
                break
        else:
            raise RuntimeError(f"{command} did not start: {said.decode(errors='replace')}")
        try:
            yield
        finally:
            process.kill()
            process.wait()
            note("ended", process.pid)


@contextlib.contextmanager
def _dns() -> Iterator[int]:
    port = free_port()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    process = multiprocessing.get_context("fork").Process(target=_answer_nothing, args=(server,), daemon=True)
    process.start()
    server.close()
    try:
        yield port
    finally:
        process.kill()
        process.join()


def _answer_nothing(server: socket.socket) -> None:
    """Give every question back as an answer: "no such domain", recursion available."""
    os.setpgid(0, 0)
    while True:
        query, client = server.recvfrom(4096)
        server.sendto(query[:2] + bytes([query[2] | 0x80, 0x83]) + query[4:], client)
