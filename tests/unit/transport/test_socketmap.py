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
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import ConfigError
from gatepost.transport.answer import Answer, Found, NotFound, Refused, TryAgain
from gatepost.transport.socketmap import RequestError, reply, requests, serve

PROGRAM = """
import sys
from pathlib import Path
from gatepost.transport.answer import Found, NotFound
from gatepost.transport.socketmap import serve

def table(key):
    if key == "boom":
        raise RuntimeError("a bug")
    return NotFound() if key == "absent" else Found("value of " + key)

serve(Path(sys.argv[1]), {"tls": table}, lambda: print("ready", flush=True))
print("ended", flush=True)
"""


def netstring(text: str) -> bytes:
    return b"%d:%b," % (len(text.encode()), text.encode())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a service in a process of its own."""
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process, path
        process.kill()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    return client


def exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := client.recv(size - len(data))):
        data += piece
    return data


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50))
def test_requests_come_however_cut(texts: list[bytes], step: int) -> None:
    """Requests are read whole and in order, whatever pieces they come in."""
    stream = b"".join(b"%d:%b," % (len(text), text) for text in texts)
    received, found = bytearray(), []
    for start in range(0, len(stream), step):
        received += stream[start : start + step]
        found.extend(requests(received))
    assert found == texts
    assert not received


@pytest.mark.parametrize("data", [b"x", b":x,", b"3:abcd", b"-1:", b" 3:abc,", b"10001:", b"999999", b"3;abc,"])
def test_wrong_requests(data: bytes) -> None:
    """What is no netstring, or too long, is refused as soon as it shows."""
    with pytest.raises(RequestError):
        list(requests(bytearray(data)))


@given(st.binary(max_size=40))
def test_no_request_crashes(data: bytes) -> None:
    """Any bytes give requests or a RequestError."""
    with contextlib.suppress(RequestError):
        list(requests(bytearray(data)))


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
    assert reply({"tls": lambda _: answer}, b"tls key") == netstring(expected)


def test_key_may_hold_blanks() -> None:
    """The key is everything behind the first blank."""
    assert reply({"tls": Found}, b"tls a b ") == netstring("OK a b ")


@pytest.mark.parametrize("request_text", [b"other key", b"tls", b"", b"\xff key"])
def test_unknown_table_is_perm(request_text: bytes) -> None:
    """A table that is not here, or no key, is PERM."""
    assert reply({"tls": Found}, request_text).split(b":", 1)[1].startswith(b"PERM ")


def test_failure_is_temp() -> None:
    """A look-up that breaks defers the mail and tells nothing of the inside."""

    def broken(_: str) -> Answer:
        raise RuntimeError("password=geheim")

    text = reply({"tls": broken}, b"tls key")
    assert text.split(b":", 1)[1].startswith(b"TEMP ")
    assert b"geheim" not in text
    assert b"TEMP" in reply({"tls": Found}, b"tls \xff")


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
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True) as again:
        assert again.stdout is not None
        assert again.stdout.readline() == "ready\n"
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
