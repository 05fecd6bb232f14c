"""
A mail server's side of the socketmap protocol, as quick as it can be: it checks every reply, octet for octet.
"""

import random
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PIECE = 1 << 20  # octets
_NAP = 50e-6  # seconds


@dataclass(frozen=True, slots=True)
class Question:
    """A request and the reply that must come, both as netstrings."""

    request: bytes
    reply: bytes

    @classmethod
    def of(cls, table: str, key: str, reply: str) -> "Question":
        """Put a look-up and its reply."""
        texts = (f"{table} {key}".encode(), reply.encode())
        return cls(*(b"%d:%b," % (len(text), text) for text in texts))


class WrongReplyError(Exception):
    """A service did not answer what it must."""


def connected(path: Path) -> socket.socket:
    """Connect to a service."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(str(path))
    return connection


def rate(path: Path, questions: Sequence[Question], in_flight: int, seconds: float) -> float:
    """Ask on one connection, always `in_flight` questions under way; give the look-ups a second."""
    with connected(path) as connection:
        count = 0
        started = time.perf_counter()
        ends = started + seconds
        while time.perf_counter() < ends:
            batch = [questions[(count + number) % len(questions)] for number in range(in_flight)]
            _ask(connection, batch)
            count += in_flight
        return count / (time.perf_counter() - started)


def ask_all(path: Path, questions: Sequence[Question]) -> None:
    """Ask every question once, some at a time, so that a service has seen it."""
    with connected(path) as connection:
        for start in range(0, len(questions), 50):
            _ask(connection, questions[start : start + 50])


def _ask(connection: socket.socket, batch: Sequence[Question]) -> None:
    connection.sendall(b"".join([one.request for one in batch]))
    expected = b"".join([one.reply for one in batch])
    received = connection.recv(_PIECE)
    while received and len(received) < len(expected):
        received += connection.recv(_PIECE)
    if received != expected:
        raise WrongReplyError(f"expected {expected[:200]!r}, got {received[:200]!r}")


def latencies(
    path: Path, questions: Sequence[Question], connections: int, a_second: float, seconds: float
) -> list[float]:
    """
    Ask on many connections at moments that do not depend on the answers (a Poisson process); give how long each
    look-up took, in seconds, from the moment at which it was due.
    """
    poll = selectors.DefaultSelector()
    idle = [connected(path) for _ in range(connections)]
    for connection in idle:
        poll.register(connection, selectors.EVENT_READ)
    under_way: dict[socket.socket, tuple[float, Question]] = {}
    took: list[float] = []
    due = time.perf_counter()
    ends = due + seconds
    while due < ends or under_way:
        while due < ends and due <= time.perf_counter() and idle:
            connection = idle.pop(random.randrange(len(idle)))  # noqa: S311 - any will do
            question = random.choice(questions)  # noqa: S311 - any will do
            connection.sendall(question.request)
            under_way[connection] = (due, question)
            due += random.expovariate(a_second)
        ready = poll.select(0)  # with a time to wait it would wait whole milliseconds
        if not ready:
            time.sleep(_NAP)
        for key, _ in ready:
            connection = key.fileobj  # type: ignore[assignment]
            began, question = under_way.pop(connection)
            if connection.recv(_PIECE) != question.reply:
                raise WrongReplyError(f"not {question.reply!r}")
            took.append(time.perf_counter() - began)
            idle.append(connection)
    for connection in idle:
        connection.close()
    return took
