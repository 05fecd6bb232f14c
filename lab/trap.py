"""
Who watches the proxies: a trap that strikes at one step, and the word for what passes by.

Steps are named in lab.proxy. A watcher is asked about every step twice, before and after it is forwarded, and
may hold it, or name what shall become of it.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

_PATIENCE = 3.0  # seconds that a connection waits at the step for the others


@dataclass(frozen=True, slots=True)
class Passing:
    """
    One step of one connection, before or after it was forwarded.

    `message` is the local part of the sender of the message under way; for Gatepost's own notices, which have
    none, that of the recipient, as soon as it is known.
    """

    step: str
    connection: int
    message: str
    forwarded: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The step is not forwarded: the proxy answers this, one SMTP reply line, and hangs up."""

    reply: bytes


class Cut:
    """The step is not forwarded, and both sides are cut off."""


Action = Answer | Cut | None


class Watch(Protocol):
    """Is told of every step."""

    def pass_by(self, passing: Passing) -> Action:
        """Say what becomes of a step: None lets it pass. It may block; after forwarding only None counts."""


class Trap:
    """
    Waits at one step of the protocol; `seen` counts every step that passed, armed or not.

    It strikes when as many connections as asked for stand there, or, after some patience, with fewer.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.struck = threading.Event()
        self.caught = 0
        self._lock = threading.Lock()
        self._step = ""
        self._after = False
        self._gate = threading.Event()
        self._strike: Callable[[], None] = _nothing
        self._wanted = 1
        self._connections: set[int] = set()

    def arm(self, step: str, strike: Callable[[], None], *, connections: int = 1, after: bool = False) -> None:
        """Strike once, when so many connections stand at `step`; `after` forwards the step first."""
        with self._lock:
            self._step, self._after, self.caught = step, after, 0
            self._connections = set()
            self.struck.clear()
            self._wanted, self._strike, self._gate = connections, strike, threading.Event()

    def disarm(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._step = ""
            self._gate.set()

    def pass_by(self, passing: Passing) -> Action:
        """Hold a connection that is at the step the trap is armed for; all others pass at once."""
        with self._lock:
            self.seen[passing.step] += not passing.forwarded
            armed = (self._step, self._after) == (passing.step, passing.forwarded)
            if not armed or passing.connection in self._connections:
                return None
            self._connections.add(passing.connection)
            gate = self._gate
            if len(self._connections) >= self._wanted:
                self._act()
        if not gate.wait(_PATIENCE):
            with self._lock:
                if not gate.is_set():
                    self._act()
        return None

    def _act(self) -> None:
        """Strike and let all go on; the lock is held."""
        self._strike()
        self.caught, self._step = len(self._connections), ""
        self.struck.set()
        self._gate.set()


def _nothing() -> None:
    """Strike nobody."""
