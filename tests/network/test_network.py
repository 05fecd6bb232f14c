"""The network of the lab: machines of their own, a wire that hides nothing, and nothing left behind."""

import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.certificate import Authority
from lab.letter import canary
from lab.namespace import Namespace
from lab.network import Network
from lab.sink import Sink
from lab.wait import until

pytestmark = pytest.mark.real

_LEFT_ALONE = """
import time
from lab.network import Network
with Network() as network:
    print(network.machine("one", "11.25.0.1/16").pid, flush=True)
    time.sleep(600)
"""
_REPOSITORY = Path(__file__).parents[2]
_PORT = ("11.25.0.2", 25)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def test_machines_reach_one_another_and_nothing_else(network: Network) -> None:
    """A machine reaches the others at their addresses; there is no way out, and the host is not one of them."""
    one, other = network.machine("one", "11.25.0.1/16"), network.machine("other", "11.25.0.2/16")
    with Sink(within=other, address="11.25.0.2") as sink, Sink() as here:
        one.connect(("11.25.0.2", sink.port)).close()
        with pytest.raises(OSError, match="unreachable"):
            one.connect(("8.8.8.8", 53), timeout=5)
        with pytest.raises(OSError, match="refused"):
            one.connect(("127.0.0.1", here.port), timeout=5)


def test_wire_tells_what_went_in_clear(network: Network) -> None:
    """What is sent in clear is seen with its receiver, also where packets divide it."""
    one, other = network.machine("one", "11.25.0.1/16"), network.machine("other", "11.25.0.2/16")
    wire, word = network.wire("one"), canary().encode()
    with other.listen(_PORT) as listener, one.connect(_PORT) as sending, listener.accept()[0] as receiving:
        sending.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octets in (b"x" * 50_000, word[:9], word[9:], b"y" * 200_000):
            _hand_over(sending, receiving, octets)
    until(lambda: wire.readers(word), 30, "the word is seen")
    assert wire.readers(word) == {_PORT}
    assert wire.connections(_PORT) == 1


def test_wire_tells_nothing_of_what_tls_hides(network: Network, tmp_path: Path) -> None:
    """What goes through TLS is not seen, but the connection is."""
    one, other = network.machine("one", "11.25.0.1/16"), network.machine("other", "11.25.0.2/16")
    wire, word, authority = network.wire("one"), canary().encode(), Authority(tmp_path)
    with other.listen(_PORT) as listener, one.connect(_PORT) as plain, listener.accept()[0] as accepted:
        wrapped: list[ssl.SSLSocket] = []
        server = authority.issue("mx.test").context()
        serving = threading.Thread(target=lambda: wrapped.append(server.wrap_socket(accepted, server_side=True)))
        serving.start()
        sending = ssl.create_default_context(cafile=str(authority.file)).wrap_socket(
            plain, server_hostname="mx.test"
        )
        serving.join()
        _hand_over(sending, wrapped[0], word)
        _hand_over(wrapped[0], sending, word)
        sending.close()
        wrapped[0].close()
    assert wire.connections(_PORT) == 1
    assert wire.readers(word) == set()


def _hand_over(sending: socket.socket, receiving: socket.socket, octets: bytes) -> None:
    """Send octets, and read all of them before going on."""
    thread = threading.Thread(target=sending.sendall, args=(octets,))
    thread.start()
    left = len(octets)
    while left:
        left -= len(receiving.recv(left))
    thread.join()


def test_machine_has_its_own_resolvers(tmp_path: Path) -> None:
    """What stands for /etc/resolv.conf in a machine is seen there, and nowhere else."""
    own = tmp_path / "resolv.conf"
    own.write_text("nameserver 127.0.0.1\n")
    with Namespace("own", own) as machine, Namespace("other") as other:
        assert machine.run("cat", "/etc/resolv.conf") == own.read_text()
        assert other.run("cat", "/etc/resolv.conf") == Path("/etc/resolv.conf").read_text()


def test_machine_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where a namespace cannot be made as asked, it is said; no test goes on without it."""
    with pytest.raises(RuntimeError, match=r"'own' could not be made, which takes root: .*nothing-here"):
        Namespace("own", tmp_path / "nothing-here").start()


def test_nothing_is_left_of_a_network_whose_owner_is_killed() -> None:
    """After SIGKILL of the process that made it, the machine's process is gone, and with it the network."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _LEFT_ALONE], stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY
    )
    assert owner.stdout is not None
    holder = Path(f"/proc/{int(owner.stdout.readline())}")
    assert holder.exists()
    owner.send_signal(signal.SIGKILL)
    owner.communicate(timeout=60)
    until(lambda: not holder.exists(), 60, "the machine is gone")
