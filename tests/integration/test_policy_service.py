"""
`gatepost run policy` as a site runs it: Postfix's own client reads its answers, DNS good, silent and gone.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from lab.nameserver import NameServer, response
from lab.place import note, short_folder
from lab.wait import until

from gatepost.app.store import upgrade_database
from gatepost.db.engine import Database
from gatepost.db.partners import PartnerTable
from gatepost.directory.partner import Partner
from gatepost.transport.netstring import encoded
from gatepost.transport.socketmap_client import PolicyClient

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SETTINGS = """\
[gateway]
internal_domains = ["hosp.test"]
[database]
url = "sqlite:///{folder}/db"
[policy]
socket = "unix:{folder}/policy.sock"
[dns]
resolvers = ["{server}"]
timeout = {timeout}
"""
TLSA = "_25._tcp.mx.dane.test. 300 IN TLSA 3 1 1 " + "ab" * 32


@dataclass
class Service:
    """The service in a process of its own, and its site's folder."""

    folder: Path
    process: "subprocess.Popen[str]"

    @property
    def socket(self) -> Path:
        return self.folder / "policy.sock"

    def postmap(self, key: str, table: str) -> tuple[int, str]:
        """Ask as Postfix does: its exit status, and what it said."""
        done = subprocess.run(
            ["/usr/sbin/postmap", "-c", self.folder, "-q", key, f"socketmap:unix:{self.socket}:{table}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, (done.stdout + done.stderr).strip()


def _answer(query: dns.message.Message, by_tcp: bool) -> bytes | None:
    """DANE for dane.test, nothing for the others; `bogus.test` fails, and nothing comes back for `silent.test`."""
    del by_tcp
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True)
    if name.endswith("silent.test"):
        return None
    if name.endswith("bogus.test"):
        return response(query, rcode=dns.rcode.SERVFAIL).to_wire()
    known = {
        "MX dane.test": "dane.test. 300 IN MX 10 mx.dane.test.",
        "A mx.dane.test": "mx.dane.test. 300 IN A 192.0.2.1",
        "TLSA _25._tcp.mx.dane.test": TLSA,
    }
    record = known.get(f"{question.rdtype.name} {name}")
    return response(query, *([record] if record else []), vouched=True).to_wire()


def _started(stack: ExitStack, timeout: float) -> Service:
    folder = stack.enter_context(short_folder())
    server = stack.enter_context(NameServer(_answer))
    (folder / "main.cf").write_text("compatibility_level = 3.6\n")
    config = folder / "gatepost.toml"
    config.write_text(SETTINGS.format(folder=folder, server=server.name, timeout=timeout))
    upgrade_database(Database(f"sqlite:///{folder}/db"))
    command = [sys.executable, "-m", "gatepost", "--config", str(config), "run", "policy"]
    log = folder / "log"
    with log.open("w") as file:
        process = stack.enter_context(subprocess.Popen(command, stderr=file, text=True, start_new_session=True))
    note("group", process.pid)
    stack.callback(_end, process)
    until(lambda: "ready\n" in log.read_text(), 60, log.read_text)
    return Service(folder, process)


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(60)
    note("ended", process.pid)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with ExitStack() as stack:
        yield _started(stack, 20)


def test_each_kind_of_answer(service: Service) -> None:
    """Assured, nothing published, and unknown: each map puts it in its way, and Postfix's client understands."""
    assert service.postmap("dane.test", "tls") == (0, "dane-only")
    assert service.postmap("dane.test", "sts") == (0, "dane-only")
    assert service.postmap("none.test", "sts") == (1, "")
    assert service.postmap(".none.test", "sts") == (1, "")
    for key, table in (("none.test", "tls"), ("bogus.test", "tls"), ("bogus.test", "sts")):
        status, said = service.postmap(key, table)
        assert status == 1
        assert "socketmap server temporary error" in said
    assert "socketmap server permanent error" in service.postmap("dane.test", "other")[1]


def test_milter_is_told_the_same(service: Service) -> None:
    """The milter's client gets the capability that the maps answer from."""
    client = PolicyClient(service.socket, 60)
    found = client.begin("Dane.test").wait()
    assert (found.assured, found.by, found.policy) == (True, "dane", "dane-only")
    none = client.begin("none.test").wait()
    assert (none.assured, none.unknown) == (False, False)
    bogus = client.begin("bogus.test").wait()
    assert (bogus.assured, bogus.unknown) == (False, True)
    client.close()
    status, said = service.postmap("dane.test", "capability")
    assert status == 0
    assert json.loads(said)["policy"] == "dane-only"


def test_edit_of_a_row_is_seen_within_five_seconds(service: Service) -> None:
    """A row that an admin adds counts for the next deliveries, however often the next hop was asked for before."""
    assert service.postmap("row.test", "sts") == (1, "")
    table = PartnerTable(Database(f"sqlite:///{service.folder}/db"))
    table.add(Partner("row.test", tls=f"fingerprint:{'ab' * 32}"))
    written = time.monotonic()
    while service.postmap("row.test", "sts")[0] != 0:
        assert time.monotonic() < written + 15, "five seconds, and room for a slow host"
    table.remove("row.test")
    written = time.monotonic()
    while service.postmap("row.test", "sts") != (1, ""):
        assert time.monotonic() < written + 15


def test_silent_dns_holds_up_nobody_else() -> None:
    """While DNS is silent on one next hop the others are answered; that one defers; SIGTERM ends the service."""
    with ExitStack() as stack:
        service = _started(stack, 2)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.settimeout(60)
            waiting.connect(str(service.socket))
            waiting.sendall(encoded(b"sts silent.test") + encoded(b"sts none.test"))
            assert service.postmap("dane.test", "tls") == (0, "dane-only")
            received = b""
            while not received.endswith(encoded(b"NOTFOUND ")) and (piece := waiting.recv(10_000)):
                received += piece
            assert received.partition(b":")[2].startswith(b"TEMP ")
            assert received.endswith(encoded(b"NOTFOUND "))
            waiting.sendall(encoded(b"sts more.silent.test"))
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(60) == 0
