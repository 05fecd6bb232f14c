"""The socketmap service: netstrings in, netstrings out, and doubt is TEMP."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.errors import ConfigError
from gatepost.transport.answer import Answer, Found, NotFound, Refused, TryAgain
from gatepost.transport.socketmap import Service, reply, serve

PROGRAM = """
import asyncio
import sys
from pathlib import Path
from gatepost.transport.answer import Found, NotFound
from gatepost.transport.socketmap import serve

later = {}
asked = 0

def table(key):
    global asked
    if key == "boom":
        raise RuntimeError("a bug")
    if key == "asked":
        return Found(str(asked))
    if key.startswith("later"):
        asked += 1
        if key not in later:
            later[key] = asyncio.get_running_loop().create_future()
        return later[key]
    if key.startswith("now"):
        later[key.replace("now", "later")].set_result(Found("value of " + key))
    if key.startswith("break"):
        later[key.replace("break", "later")].set_exception(RuntimeError("a bug"))
    return NotFound() if key == "absent" else Found("value of " + key)

serve(Path(sys.argv[1]), {"tls": table}, lambda: print("ready", flush=True), seconds=float(sys.argv[2]))
print("ended", flush=True)
"""
LATE = "TEMP the look-up is not done yet; a later try finds its answer"
FAILED = "TEMP the look-up failed; see the log of the policy service"


def netstring(text: str) -> bytes:
    return b"%d:%b," % (len(text.encode()), text.encode())


@contextlib.contextmanager
def serving(path: Path, seconds: float = 60) -> Iterator["subprocess.Popen[str]"]:
    """Run a service in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    with serving(tmp_path / "s") as process:
        yield process, tmp_path / "s"


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(str(path))
    return client


def exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := client.recv(size - len(data))):
        data += piece
    return data


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Found("secure match=x"), "OK secure match=x"),
        (NotFound(), "NOTFOUND "),
        (TryAgain("later"), "TEMP later"),
        (Refused("no"), "PERM no"),
    ],
)
def test_replies(answer: Answer, expected: str) -> None:
    """Each answer has its own reply."""
    assert reply(Service({"tls": lambda _: answer}).ask(b"tls key")) == netstring(expected)


def test_key_may_hold_blanks() -> None:
    """The key is everything behind the first blank."""
    assert Service({"tls": Found}).ask(b"tls a b ") == Found("a b ")


@pytest.mark.parametrize("request_text", [b"other key", b"tls", b"", b"\xff key"])
def test_unknown_table_is_perm(request_text: bytes) -> None:
    """A table that is not here, or no key, is PERM."""
    assert Service({"tls": Found}).ask(request_text) == Refused("this service has no such table")


def test_failure_is_temp() -> None:
    """A look-up that breaks defers the mail and tells nothing of the inside."""

    def broken(_: str) -> Answer:
        raise RuntimeError("password=geheim")

    text = reply(Service({"tls": broken}).ask(b"tls key"))
    assert text.split(b":", 1)[1].startswith(b"TEMP ")
    assert b"geheim" not in text
    assert b"TEMP" in reply(Service({"tls": Found}).ask(b"tls \xff"))


def test_pipelined_requests(service: tuple[subprocess.Popen[str], Path]) -> None:
    """Many requests at once are answered in order, a failing one among them."""
    keys = ["a", "absent", "boom", *(f"k{number}" for number in range(2000))]
    with connected(service[1]) as client:
        client.sendall(b"".join(netstring(f"tls {key}") for key in keys))
        expected = [
            "OK value of a",
            "NOTFOUND ",
            "TEMP the look-up failed; see the log of the policy service",
            *(f"OK value of {key}" for key in keys[3:]),
        ]
        stream = b"".join(netstring(text) for text in expected)
        assert exactly(client, len(stream)) == stream


def asks(client: socket.socket, *keys: str) -> None:
    client.sendall(b"".join(netstring(f"tls {key}") for key in keys))


def gets(client: socket.socket, *replies: str) -> None:
    expected = b"".join(netstring(reply) for reply in replies)
    assert exactly(client, len(expected)) == expected


def test_slow_look_up_keeps_the_order(service: tuple[subprocess.Popen[str], Path]) -> None:
    """What is asked behind a slow look-up is answered behind it, and other connections do not wait."""
    with connected(service[1]) as slow, connected(service[1]) as other:
        asks(slow, "a", "later1", "b", "later2", "c")
        gets(slow, "OK value of a")
        asks(other, "asked")
        gets(other, "OK 2")
        asks(other, "now2", "now1")
        gets(other, "OK value of now2", "OK value of now1")
        gets(slow, "OK value of now1", "OK value of b", "OK value of now2", "OK value of c")


def test_client_that_leaves_cancels_nothing(service: tuple[subprocess.Popen[str], Path]) -> None:
    """A look-up that one client gave up is still answered to another, and to one that comes later."""
    with connected(service[1]) as other:
        with connected(service[1]) as leaving:
            asks(leaving, "a", "later1")
            gets(leaving, "OK value of a")
        asks(other, "later1")
        with connected(service[1]) as third:
            asks(third, "now1")
            gets(third, "OK value of now1")
        gets(other, "OK value of now1")


def test_broken_slow_look_up_is_temp(service: tuple[subprocess.Popen[str], Path]) -> None:
    """A look-up that breaks later defers the mail like one that breaks at once."""
    with connected(service[1]) as client, connected(service[1]) as other:
        asks(client, "later1", "a")
        asks(other, "a")
        gets(other, "OK value of a")
        asks(other, "break1")
        gets(client, FAILED, "OK value of a")


def test_late_look_up_is_temp(tmp_path: Path) -> None:
    """A look-up that takes too long is TEMP, and the replies behind it come."""
    with serving(tmp_path / "s", 0.2), connected(tmp_path / "s") as client:
        asks(client, "later1", "later2", "a")
        gets(client, LATE, LATE, "OK value of a")
        asks(client, "now1", "later1")
        gets(client, "OK value of now1", "OK value of now1")


def test_many_waiting_look_ups_are_read_no_further(service: tuple[subprocess.Popen[str], Path]) -> None:
    """A connection with many slow look-ups is read no further until some are done; none is lost."""
    with connected(service[1]) as client, connected(service[1]) as other:
        asks(client, *["later1"] * 1000)
        asks(other, "asked")
        until = b""
        while b"200" not in until:
            asks(other, "asked")
            until = other.recv(1000)
        asks(other, "asked")
        assert b"OK 200" in other.recv(1000)
        asks(other, "now1")
        gets(client, *["OK value of now1"] * 1000)


def test_greedy_client_lets_others_have_their_turn(service: tuple[subprocess.Popen[str], Path]) -> None:
    """A client that asks without end and reads nothing holds up nobody, fills no memory, and loses nothing."""
    question, answer = netstring("tls a"), netstring("OK value of a")
    with connected(service[1]) as greedy, connected(service[1]) as other:
        greedy.setblocking(False)
        sent = stuck = 0
        while stuck < 20 and sent < 20_000_000:
            try:
                sent += greedy.send(question * 1000)
                stuck = 0
            except BlockingIOError:
                stuck += 1
                time.sleep(0.05)
        assert sent < 5_000_000, "it is read no further"
        asks(other, "b")
        gets(other, "OK value of b")
        greedy.settimeout(60)
        for _ in range(sent // len(question)):
            assert exactly(greedy, len(answer)) == answer


def test_each_look_up_has_its_own_time(tmp_path: Path) -> None:
    """A look-up that was asked behind another is given up in its turn, not with the first, and not never."""
    with serving(tmp_path / "s", 0.5) as _, connected(tmp_path / "s") as client:
        asks(client, "later1")
        time.sleep(0.2)
        asks(client, "later2")
        gets(client, LATE, LATE)


def test_bad_request_closes_only_its_connection(service: tuple[subprocess.Popen[str], Path]) -> None:
    """A client that speaks something else is cut off; others go on."""
    with connected(service[1]) as good, connected(service[1]) as bad:
        bad.sendall(b"GET / HTTP/1.1\r\n")
        assert bad.recv(100) == b""
        good.sendall(netstring("tls a"))
        assert exactly(good, 17) == netstring("OK value of a")


def test_sigterm_ends_cleanly(service: tuple[subprocess.Popen[str], Path]) -> None:
    """SIGTERM ends the service with success, with clients connected, and takes the socket away."""
    process, path = service
    with connected(path) as client:
        client.sendall(netstring("tls a"))
        assert exactly(client, 17)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not path.exists()


def test_killed_service_starts_again(service: tuple[subprocess.Popen[str], Path]) -> None:
    """A socket that a killed service left behind is no obstacle."""
    process, path = service
    process.kill()
    process.wait(60)
    assert path.exists()
    with serving(path) as again:
        again.terminate()
        assert again.wait(60) == 0


def test_other_file_is_not_replaced(tmp_path: Path) -> None:
    """A file that is no socket stays, and the error names it."""
    path = tmp_path / "precious"
    path.write_text("x")
    with pytest.raises(ConfigError, match="precious"):
        serve(path, {}, lambda: None)
    assert path.read_text() == "x"


@pytest.mark.real
def test_postmap_reads_every_reply(service: tuple[subprocess.Popen[str], Path], tmp_path: Path) -> None:
    """Postfix's own client understands found, not found, temporary and permanent answers."""
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")

    def ask(key: str, table: str = "tls") -> tuple[int, str]:
        done = subprocess.run(
            ["/usr/sbin/postmap", "-c", tmp_path, "-q", key, f"socketmap:unix:{service[1]}:{table}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.returncode, done.stdout + done.stderr

    assert ask("p.test") == (0, "value of p.test\n")
    assert ask("absent")[0] == 1
    assert ask("boom")[0] != 0
    assert "look-up failed" in ask("boom")[1]
    assert "no such table" in ask("p.test", "other")[1]


def test_many_lookups_are_quick(service: tuple[subprocess.Popen[str], Path]) -> None:
    """One look-up takes well under a millisecond at the median."""
    with connected(service[1]) as client:
        times = []
        for _ in range(500):
            start = time.perf_counter()
            client.sendall(netstring("tls a"))
            exactly(client, 17)
            times.append(time.perf_counter() - start)
    assert sorted(times)[250] < 0.005
