"""The milter's way to the policy service: an answer, or `unknown` with its reason; never an error or a hang."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatepost.transport import socketmap_client
from gatepost.transport.capability import Capability
from gatepost.transport.netstring import NetstringError, encoded, take
from gatepost.transport.socketmap_client import PolicyClient

Handler = Callable[[socket.socket, str], bool]
"""Answers one question; true: the connection stays open."""


class Service:
    """A policy service that answers as it is told; a thread for each connection."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._handler = handler
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(100)
        self.connections: list[socket.socket] = []
        self.questions: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = bytearray()
        with contextlib.suppress(OSError, NetstringError):
            while piece := connection.recv(65536):
                received += piece
                while taken := take(received, 0, 10_000):
                    del received[: taken[1]]
                    self.questions.append(taken[0].decode())
                    if not self._handler(connection, taken[0].decode().partition(" ")[2]):
                        self.end(connection)
                        return
        self.end(connection)

    @staticmethod
    def end(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def close(self) -> None:
        self.end(self._listener)
        for connection in self.connections:
            self.end(connection)


def assured(hop: str) -> Capability:
    return Capability(hop, assured=True, by="dane", policy="dane-only", steps=(f"steps of {hop}",))


def telling(capability: Capability) -> bytes:
    return encoded(b"OK " + json.dumps(capability.as_json()).encode())


def well(connection: socket.socket, hop: str) -> bool:
    connection.sendall(telling(assured(hop)))
    return True


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Handler], Service]]:
    services = []

    def start(handler: Handler) -> Service:
        services.append(Service(tmp_path / "s", handler))
        return services[-1]

    yield start
    for service in services:
        service.close()


def reason(capability: Capability) -> str:
    """Give the reason of an answer that is none."""
    assert not capability.assured
    assert capability.unknown
    assert not capability.policy
    (step,) = capability.steps
    return step


def test_answer(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """The answer comes whole, and connections are used again."""
    service = serve(well)
    client = PolicyClient(tmp_path / "s", 60)
    for hop in ("p.test", "[mx.p.test]:26", "q.test"):
        pending = client.begin(hop)
        assert pending.wait() == assured(hop)
        assert pending.wait() == assured(hop), "asked again, it gives the same"
    assert service.questions == ["capability p.test", "capability [mx.p.test]:26", "capability q.test"]
    assert len(service.connections) == 1
    client.close()


def test_definite_no(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """That nothing assures TLS is an answer."""
    none = Capability("p.test", assured=False, steps=("no TLSA records",))

    def handler(connection: socket.socket, _: str) -> bool:
        connection.sendall(telling(none))
        return True

    serve(handler)
    client = PolicyClient(tmp_path / "s", 60)
    assert client.begin("P.test").wait() == none
    client.close()


def test_many_hops_at_once(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """Hundreds of questions begun before any is read all get their own answer, over not so many connections."""
    service = serve(well)
    client = PolicyClient(tmp_path / "s", 60)
    hops = [f"p{number}.test" for number in range(300)]
    begun = [client.begin(hop) for hop in hops]
    assert [pending.wait() for pending in begun] == [assured(hop) for hop in hops]
    assert len(service.connections) <= 70
    client.close()


def test_threads(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """Threads that ask at the same time get their own answers."""
    serve(well)
    client = PolicyClient(tmp_path / "s", 60)
    wrong = []

    def ask(name: str) -> None:
        for number in range(50):
            hop = f"{name}{number}.test"
            if client.begin(hop).wait() != assured(hop):
                wrong.append(hop)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    client.close()


def test_question_that_nobody_waits_for(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """An answer that nobody read is not taken for that of the next question, and keeps no connection."""
    service = serve(well)
    client = PolicyClient(tmp_path / "s", 60)
    for _ in range(200):
        client.begin("forgotten.test")
        assert client.begin("p.test").wait() == assured("p.test")
    deadline = time.monotonic() + 60
    while "capability forgotten.test" not in service.questions:
        assert time.monotonic() < deadline
    client.close()


def test_service_that_started_again(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """A connection that the service closed meanwhile is replaced without a word."""
    service = serve(well)
    client = PolicyClient(tmp_path / "s", 60)
    client.begin("p.test").wait()
    service.close()
    (tmp_path / "s").unlink()
    serve(well)
    assert client.begin("q.test").wait() == assured("q.test")
    client.close()


def test_no_service(tmp_path: Path) -> None:
    """Without a service it is unknown at once, and the reason tells what to do."""
    said = reason(PolicyClient(tmp_path / "none", 60).begin("p.test").wait())
    assert "No such file or directory" in said
    assert "start `run policy`" in said


def test_full_backlog(tmp_path: Path) -> None:
    """A service that takes no more connections blocks nobody."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        client = PolicyClient(tmp_path / "s", 0.2)
        said = [reason(pending.wait()) for pending in [client.begin("p.test") for _ in range(10)]]
    assert any("too many ask it at once" in one for one in said)


def test_slow_service(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """No answer by the deadline, counted from the question, is unknown; its connection is not used again."""
    release = threading.Event()

    def handler(connection: socket.socket, hop: str) -> bool:
        if hop == "slow.test":
            release.wait(60)
        return well(connection, hop)

    serve(handler)
    client = PolicyClient(tmp_path / "s", 0.5)
    slow = client.begin("slow.test")
    assert reason(slow.wait()) == "the policy service did not answer within 0.5 s"
    release.set()
    patient = PolicyClient(tmp_path / "s", 60)
    assert patient.begin("p.test").wait() == assured("p.test")
    patient.close()
    client.close()


def test_dripping_service(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """An answer that comes octet by octet does not stretch the deadline."""
    ended = threading.Event()

    def handler(connection: socket.socket, hop: str) -> bool:
        for octet in telling(Capability(hop, assured=False, steps=("x" * 50_000,))):
            if ended.wait(0.0002):
                return False
            connection.sendall(bytes([octet]))
        return True

    serve(handler)
    started = time.monotonic()
    said = reason(PolicyClient(tmp_path / "s", 0.5).begin("p.test").wait())
    took = time.monotonic() - started
    ended.set()
    assert said == "the policy service did not answer within 0.5 s"
    assert took < 10


def test_answer_that_waited_for_its_reader(serve: Callable[[Handler], Service], tmp_path: Path) -> None:
    """An answer that came in time counts, however late the message's end is."""
    service = serve(well)
    client = PolicyClient(tmp_path / "s", 60)
    pending = client.begin("p.test")
    deadline = time.monotonic() + 60
    while not service.questions:
        assert time.monotonic() < deadline
    while not _readable(pending._connection):
        assert time.monotonic() < deadline
    pending._deadline = 0.0
    assert pending.wait() == assured("p.test")
    client.close()


def test_question_that_goes_out_late(
    serve: Callable[[Handler], Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too many are under way, the time for an answer begins when the question is sent at last."""
    monkeypatch.setattr(socketmap_client, "_MOST_BEGUN", 0)

    def slowly(connection: socket.socket, hop: str) -> bool:
        time.sleep(0.3)
        return well(connection, hop)

    service = serve(slowly)
    client = PolicyClient(tmp_path / "s", 60)
    pending = client.begin("p.test")
    assert service.questions == []
    pending._deadline = 0.0
    assert pending.wait() == assured("p.test")
    client.close()


def _readable(connection: socket.socket | None) -> bool:
    assert connection is not None
    with contextlib.suppress(BlockingIOError):
        return bool(connection.recv(1, socket.MSG_PEEK))
    return False


BAD = "the policy service answered what is no capability"
JSON = json.dumps(assured("p.test").as_json())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", "the policy service closed the connection without an answer; is it being restarted?"),
        (b"12", "the policy service closed the connection without an answer; is it being restarted?"),
        (b"HTTP/1.1 400\r\n", "the policy service answered nonsense: it does not begin with a length"),
        (b"100001:", "the policy service answered nonsense: its 100001 octets are more than 100000"),
        (telling(assured("p.test")) * 2, "the policy service answered more than was asked"),
        (telling(assured("q.test")), "the policy service answered for another next hop"),
        (encoded(b"NOTFOUND "), "the policy service answered: NOTFOUND "),
        (encoded(b"TEMP not now"), "the policy service answered: TEMP not now"),
        (encoded(b"PERM no table"), "the policy service answered: PERM no table"),
        (encoded(b"OK "), BAD),
        (encoded(b"OK []"), BAD),
        (encoded(b"OK null"), BAD),
        (encoded(b"OK {}"), BAD),
        (encoded(b"OK \xff"), BAD),
        (encoded(b"OK " + b"[" * 50_000), BAD),
        (encoded(b"OK " + JSON.replace("true", '"true"').encode()), BAD),
        (encoded(b"OK " + JSON.replace('["steps of p.test"]', "[1]").encode()), BAD),
        (encoded(b"OK " + JSON.replace('"dane-only"', '""').encode()), "what contradicts itself"),
        (encoded(b"OK " + JSON.replace('"dane"', '""').encode()), "what contradicts itself"),
        (encoded(b"OK " + JSON.replace('"unknown": false', '"unknown": true').encode()), "contradicts itself"),
    ],
)
def test_nonsense(serve: Callable[[Handler], Service], tmp_path: Path, answer: bytes, expected: str) -> None:
    """Whatever is no whole answer to this question is unknown, and its connection is given up."""

    def handler(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer)
        return False

    serve(handler)
    client = PolicyClient(tmp_path / "s", 60)
    assert expected in reason(client.begin("p.test").wait())
    assert not client._idle


@pytest.mark.parametrize("hop", ["\udcff.test", "x" * 500_000])
def test_hop_that_cannot_be_asked_for(serve: Callable[[Handler], Service], tmp_path: Path, hop: str) -> None:
    """What does not go into a question is unknown."""
    serve(well)
    reason(PolicyClient(tmp_path / "s", 60).begin(hop).wait())
