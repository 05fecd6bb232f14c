"""
Restarts under load: nothing is lost, nothing comes twice, nothing that must be protected leaves in clear.

Clients send and retry as mail servers do, all the while services are stopped and come back. The supervisor is
asked to replace what dies and what hangs, and to tell its own manager how things are.
"""

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lab.client import Envelope, send_until_taken
from lab.letter import canary, letter, pgp_mime
from lab.place import short_folder
from lab.site import GatepostSite
from lab.town import Town, town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

_RECIPIENTS = ("doc@hosp.test", "ann@pgp.test", "bob@plain.test", "carol@tls.test")
_CLEAR = {"doc@hosp.test", "bob@plain.test"}
_SERVICES = ("keys", "policy", "milter")
_SENDERS = 4
_RESTARTS = 2


def _under_load(the_town: Town, restart: threading.Thread) -> dict[str, Counter[str]]:
    """Send outgoing and encrypted incoming mail while `restart` runs; count for each word who got it."""
    words: list[str] = []

    def send_on(number: int) -> None:
        while restart.is_alive():
            word = canary()
            words.append(word)
            if number:
                message = letter(f"{word}\r\n", message_id=f"<{word.lower()}@hosp.test>")
                envelope, port = Envelope("sue@hosp.test", _RECIPIENTS), the_town.postfix.inside_port
            else:
                inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
                line, body = pgp_mime(the_town.gpg.encrypt(inner, ["hosp.test"]))
                message = letter(body, sender="ann@pgp.test", to="doc@hosp.test", fields=[line])
                envelope, port = Envelope("ann@pgp.test", ("doc@hosp.test",)), the_town.postfix.outside_port
            send_until_taken(port, envelope, message, timeout=120)

    restart.start()
    with ThreadPoolExecutor(_SENDERS) as pool:
        list(pool.map(send_on, range(_SENDERS)))
    restart.join()
    the_town.postfix.wait_queue_empty(120)
    return _received(the_town, words)


def _received(the_town: Town, words: list[str]) -> dict[str, Counter[str]]:
    got: dict[str, Counter[str]] = {word: Counter() for word in words}
    for message in (message for sink in the_town.sinks for message in sink.messages):
        in_clear = [word for word in words if word.encode() in message.data]
        may_see = _CLEAR | ({"carol@tls.test"} if message.tls is not None else set())
        assert not in_clear or set(message.addresses) <= may_see, f"{in_clear} in clear at {message.addresses}"
        opened = the_town.gpg.decrypt(message.data).data if b"BEGIN PGP MESSAGE" in message.data else b""
        for word in words:
            if word in in_clear or word.encode() in opened:
                got[word].update(message.addresses)
    return got


def _replaced(site: GatepostSite, service: str, number: signal.Signals) -> None:
    """Send a service a signal and wait until another process has taken its place."""
    before = set(site.service_pids(service))
    site.kill_service(service, number)
    until(lambda: set(site.service_pids(service)) - before, 120, lambda: f"{service} is replaced:\n{site.log()}")


@pytest.mark.parametrize("service", [*_SERVICES, "all"])
def test_restart_under_load(the_town: Town, service: str) -> None:
    """Every recipient gets every message exactly once, whichever service is restarted meanwhile."""
    site = the_town.site

    def restart() -> None:
        for _ in range(_RESTARTS):
            time.sleep(0.7)
            if service == "all":
                site.restart()
                continue
            _replaced(site, service, signal.SIGTERM)

    got = _under_load(the_town, threading.Thread(target=restart))

    assert len(got) > _SENDERS
    outgoing, incoming = Counter(_RECIPIENTS), Counter(["doc@hosp.test"])
    wrong = {word: reached for word, reached in got.items() if reached not in (outgoing, incoming)}
    assert not wrong, site.log()[-4000:]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Pose as the service manager of `gatepost run`, which waits 20 s for a sign of life."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        yield listener


def _until_told(manager: socket.socket, wanted: bytes) -> None:
    while wanted not in manager.recv(4096):
        pass


@pytest.fixture
def own_town(manager: socket.socket) -> Iterator[Town]:
    """Give a town whose supervisor has a manager."""
    del manager
    with short_folder() as folder, town(folder) as built:
        yield built


def test_the_supervisor_and_its_manager(own_town: Town, manager: socket.socket) -> None:
    """
    It tells its manager that it is ready, that it lives, and that it stops. Of its services, one that hangs is
    killed and replaced with a line that says so, and mail then goes on.
    """
    site = own_town.site
    _until_told(manager, b"READY=1")
    _until_told(manager, b"WATCHDOG=1")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda service: _replaced(site, service, signal.SIGSTOP), _SERVICES))
    for service in _SERVICES:
        assert f"a service hangs and is killed service={service}" in site.log()
    word = canary()
    send_until_taken(
        own_town.postfix.inside_port, Envelope.of("sue@hosp.test", "doc@hosp.test"), letter(word), timeout=120
    )
    own_town.inside.wait_for(1, 60)

    site.stop()
    _until_told(manager, b"STOPPING=1")
