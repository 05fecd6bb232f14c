"""
The milter's way to the policy service: asks its table `capability` over its UNIX socket, and never holds mail up.

The question goes out at once, the answer is read when it is wanted, by a deadline counted from the question.
Whatever goes wrong (no service, no answer in time, nonsense) is a Capability that is `unknown`, with the reason as
its step; such a connection is closed. One connection carries one question at a time, so an answer that nobody
waits for goes with its connection and can never be taken for another's.
"""

import json
import socket
import time
from collections import deque
from pathlib import Path
from threading import Lock

from gatepost.transport import netstring
from gatepost.transport.capability import Capability
from gatepost.transport.netstring import NetstringError

TABLE = "capability"
_MAX_ANSWER = 100_000  # octets
_PIECE = 65536  # octets
_MOST_BEGUN = (
    64  # connections with a question under way that nobody reads yet; more questions go out when waited for
)
_MOST_IDLE = 64
_FIELDS = {"hop": str, "assured": bool, "by": str, "policy": str, "unknown": bool, "steps": list}


class AskError(Exception):
    """The policy service gave no answer that can be used; the text says why, for an admin."""


class PolicyClient:
    """Implements `Capabilities`. Thread-safe."""

    def __init__(self, path: Path, seconds: float) -> None:
        """Take the socket's path and the seconds that an answer may take."""
        self._path = str(path)
        self.seconds = seconds
        self._idle: deque[socket.socket] = deque()  # a deque's ends are thread-safe
        self._begun = 0
        self._lock = Lock()

    def begin(self, hop: str) -> "AskedHop":
        """Ask; neither blocks nor raises."""
        asked = AskedHop(self, hop)
        with self._lock:
            if self._begun >= _MOST_BEGUN:
                return asked
            self._begun += 1
        asked.send()
        return asked

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()

    def ended(self) -> None:
        """Take note that one question that `begin` sent is no longer under way."""
        with self._lock:
            self._begun -= 1

    def sent(self, question: bytes) -> socket.socket:
        """Give a connection that a question was written to; raises AskError."""
        while (connection := self._take()) is not None:
            try:
                return _written(connection, question)
            except OSError:  # closed by a service that has ended since
                connection.close()
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            connection.connect(self._path)
            return _written(connection, question)
        except OSError as error:
            connection.close()
            reason = "too many ask it at once" if isinstance(error, BlockingIOError) else error.strerror
            raise AskError(
                f"the policy service does not answer on {self._path}: {reason}; start `run policy`"
            ) from error

    def _take(self) -> socket.socket | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give_back(self, connection: socket.socket) -> None:
        """Keep a connection on which nothing is under way."""
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()


class AskedHop:
    """Implements `Pending`: one question. For one thread at a time."""

    def __init__(self, client: PolicyClient, hop: str) -> None:
        self._client = client
        self._hop = hop
        self._deadline = time.monotonic() + client.seconds
        self._counted = False
        self._connection: socket.socket | None = None
        self._answer: Capability | None = None

    def send(self) -> None:
        """Write the question; where that fails, the answer is there."""
        self._counted = True
        try:
            self._connection = self._client.sent(_question(self._hop))
        except AskError as error:
            self._answer = self._unknown(error)
            self._let_go()

    def wait(self) -> Capability:
        """Give the answer; at the deadline at the latest, then `unknown`. Asked again, it gives the same."""
        if self._answer is None:
            try:
                self._answer = self._received()
            except AskError as error:
                self._answer = self._unknown(error)
            finally:
                self._let_go()
        return self._answer

    def __del__(self) -> None:
        """Let go of a question that nobody waited for: its answer goes with the connection."""
        self._let_go()

    def _received(self) -> Capability:
        if self._connection is None:
            self._connection = self._client.sent(_question(self._hop))
            self._deadline = time.monotonic() + self._client.seconds  # it goes out only now
        text = _read(self._connection, self._deadline, self._client.seconds)
        answer = _capability(text, self._hop)
        self._client.give_back(self._connection)
        self._connection = None
        return answer

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._counted:
            self._counted = False
            self._client.ended()

    def _unknown(self, error: AskError) -> Capability:
        return Capability(self._hop, assured=False, unknown=True, steps=(str(error),))


def _question(hop: str) -> bytes:
    try:
        return netstring.encoded(f"{TABLE} {hop}".encode())
    except UnicodeEncodeError as error:
        raise AskError("the next hop cannot be asked for: it is not UTF-8") from error


def _written(connection: socket.socket, question: bytes) -> socket.socket:
    """Write a whole question without waiting; raises OSError."""
    connection.setblocking(False)
    if connection.send(question) != len(question):
        raise BlockingIOError
    return connection


def _read(connection: socket.socket, deadline: float, seconds: float) -> bytes:
    """Read exactly one answer; raises AskError."""
    received = bytearray()
    try:
        while (taken := netstring.take(received, 0, _MAX_ANSWER)) is None:
            left = deadline - time.monotonic()
            if left <= 0 and received:
                raise _late(seconds)
            connection.settimeout(max(left, 0.001))  # what came while nobody waited still counts
            piece = connection.recv(_PIECE)
            if not piece:
                raise AskError(
                    "the policy service closed the connection without an answer; is it being restarted?"
                )
            received += piece
    except NetstringError as error:
        raise AskError(f"the policy service answered nonsense: {error}") from error
    except TimeoutError as error:
        raise _late(seconds) from error
    except OSError as error:
        raise AskError(f"the connection to the policy service broke: {error.strerror}") from error
    text, end = taken
    if end != len(received):
        raise AskError("the policy service answered more than was asked")
    return text


def _late(seconds: float) -> AskError:
    return AskError(f"the policy service did not answer within {seconds:g} s")


def _capability(text: bytes, hop: str) -> Capability:
    """Read an answer; raises AskError unless it is a Capability of this hop that does not contradict itself."""
    status, _, value = text.partition(b" ")
    if status != b"OK":
        raise AskError(f"the policy service answered: {text.decode('utf-8', 'replace')}")
    try:
        found = json.loads(value)
        fields = {name: found[name] for name in _FIELDS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise AskError("the policy service answered what is no capability") from error
    typed = all(isinstance(fields[name], kind) for name, kind in _FIELDS.items())
    if not typed or not all(isinstance(step, str) for step in fields["steps"]):
        raise AskError("the policy service answered what is no capability")
    answer = Capability(**fields | {"steps": tuple(fields["steps"])})
    if answer.hop != hop.lower():
        raise AskError("the policy service answered for another next hop")
    if answer.assured and (answer.unknown or not answer.policy or not answer.by):
        raise AskError("the policy service answered what contradicts itself")
    return answer
