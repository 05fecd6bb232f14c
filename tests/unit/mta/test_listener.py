"""The milter's socket: where it listens, and what a connection there gets."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from lab.place import free_port, short_folder
from lab.wait import until

from gatepost.errors import ConfigError
from gatepost.mta import listener
from gatepost.mta.conversation import Conversation
from gatepost.mta.lead import Lead
from gatepost.mta.listener import Listener
from gatepost.mta.probe import answers, serves


class Session:
    """Refuses whoever negotiates."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def _setctx(self, _context: object) -> None:
        pass

    def negotiate(self, _options: list[int]) -> int:
        return 1

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture
def lead() -> Iterator[Lead]:
    lead = Lead()
    yield lead
    lead.close()


def serving(name: str, lead: Lead) -> tuple[Listener, threading.Thread]:
    found = Listener(name)
    thread = threading.Thread(target=found.serve, args=(Session, lead))
    thread.start()
    return found, thread


@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_serves_until_it_is_closed(folder: Path, lead: Lead, kind: str) -> None:
    """Connections are taken at once and until the socket is closed; then the wait ends, and nothing is left."""
    name = f"unix:{folder}/m.sock" if kind == "unix" else f"inet:{free_port()}@127.0.0.1"
    found, thread = serving(name, lead)
    assert answers(name)
    assert serves(name, 5)  # hanging up is an answer
    found.close()
    thread.join(5)

    assert not thread.is_alive()
    assert not answers(name)
    assert not (folder / "m.sock").exists()


def test_what_a_dead_milter_left_goes(folder: Path, lead: Lead) -> None:
    """A socket that nobody listens at any more does not hinder the next milter."""
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(f"{folder}/m.sock")
    found, thread = serving(f"unix:{folder}/m.sock", lead)
    assert answers(f"unix:{folder}/m.sock")
    found.close()
    thread.join(5)


@pytest.mark.parametrize("name", ["unix:{}/file", "unix:{}/none/m.sock", "inet:x@127.0.0.1", "inet:1@192.0.2.1"])
def test_where_it_cannot_listen(folder: Path, name: str) -> None:
    """What is no socket stays, and the error names the setting and the place."""
    (folder / "file").write_text("kept")
    with pytest.raises(ConfigError, match=r"gateway.socket: the milter cannot listen at (unix|inet):"):
        Listener(name.format(folder))

    assert (folder / "file").read_text() == "kept"


def test_a_broken_conversation_is_told(folder: Path, lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read ends that conversation with one line in the log; others go on."""
    told: list[dict[str, object]] = []
    monkeypatch.setattr(listener.logger, "error", lambda event, **names: told.append({"event": event} | names))
    found, thread = serving(f"unix:{folder}/m.sock", lead)
    with closing(socket.socket(socket.AF_UNIX)) as bad:
        bad.connect(f"{folder}/m.sock")
        bad.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(OSError):
            assert bad.recv(1) == b""
    until(lambda: bool(told), 10, "it is told")
    assert answers(f"unix:{folder}/m.sock")
    found.close()
    thread.join(5)

    assert [one["event"] for one in told] == ["a session was ended"]


@pytest.mark.parametrize("lacking", ["descriptors", "watches"])
def test_a_connection_too_many(folder: Path, lead: Lead, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """Who cannot be taken now is told of, and hung up on; the milter takes the next one."""
    told: list[str] = []
    monkeypatch.setattr(listener.logger, "error", lambda event, **_: told.append(event))
    monkeypatch.setattr(listener, "_PAUSE", 0.01)
    fault = OSError(errno.EMFILE, "no file") if lacking == "descriptors" else OSError(errno.ENOSPC, "no watch")
    faults = [fault]
    kind, name = (socket.socket, "accept") if lacking == "descriptors" else (Lead, "take")
    does = getattr(kind, name)
    refused: list[Conversation] = []

    def fails_once(self: object, *given: Conversation) -> object:
        if faults:
            refused.extend(given)
            raise faults.pop()
        return does(self, *given)

    found, thread = serving(f"unix:{folder}/m.sock", lead)
    try:
        assert serves(f"unix:{folder}/m.sock", 5)
        monkeypatch.setattr(kind, name, fails_once)
        for _ in range(2):  # one is waited for already when accept begins to fail
            serves(f"unix:{folder}/m.sock", 5)
        assert serves(f"unix:{folder}/m.sock", 5)
    finally:
        found.close()
    thread.join(5)

    assert not thread.is_alive()
    assert told == ["a connection could not be taken"]
    assert [one._connection.fileno() for one in refused] == [-1] * (lacking == "watches")
