"""
The way to the key worker: asks it over its socket, keeps connections open, and never waits longer than a deadline.

A worker that is down, slow or breaks off raises WorkerError, which is temporary: the message is tried again later.
"""

import socket
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from gatepost.crypto.openpgp import Opened, Verification
from gatepost.errors import CryptoError, WorkerError
from gatepost.message.address import Address
from gatepost.workers import frames

_SECONDS = 90.0
_STATUSES = frozenset({"pass", "fail", "none"})


class KeyClient:
    """Implements Opener and the release of data keys. Thread-safe."""

    def __init__(self, path: Path, seconds: float = _SECONDS) -> None:
        """Take the socket's path, and the seconds that one request may last."""
        self._path = path
        self._seconds = seconds
        self._idle: deque[socket.socket] = deque(maxlen=16)  # a deque's ends are thread-safe

    def ping(self) -> None:
        """Ask whether the worker answers; raises WorkerError."""
        self._ask({"op": "ping"})

    def open(self, ciphertext: bytes, recipient: Address, sender: str) -> Opened | None:
        """Have a message opened for one recipient; None where it cannot be decrypted. Raises WorkerError."""
        request: dict[str, object] = {"op": "open", "recipient": recipient.text, "sender": sender}
        head, plaintext = self._ask(request, ciphertext)
        if head["status"] == "undecryptable":
            return None
        found = head.get("verification")
        if not isinstance(found, dict) or found.get("status") not in _STATUSES:
            raise WorkerError("the key worker's answer lacks the signature's status")
        return Opened(plaintext, Verification(found["status"], str(found.get("fingerprint", ""))))

    def release(self, held: UUID, wrapped: bytes) -> bytes:
        """Unwrap the data key of one held copy; raises CryptoError where it does not open, WorkerError."""
        return self._ask({"op": "release", "held": str(held)}, wrapped)[1]

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, head: dict[str, object], payload: bytes = b"") -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + self._seconds
        answer = self._ask_idle(head, payload, deadline) or self._exchange(
            self._connect(deadline), head, payload, deadline
        )
        if answer is None:
            raise WorkerError("the key worker closed the connection without an answer; is it being restarted?")
        status = answer[0].get("status")
        if status in {"ok", "undecryptable"}:
            return answer
        text = str(answer[0].get("text") or "the key worker gave no reason")
        if status == "refused" and head["op"] == "release":
            raise CryptoError(text)
        raise WorkerError(text)

    def _ask_idle(
        self, head: dict[str, object], payload: bytes, deadline: float
    ) -> tuple[dict[str, Any], bytes] | None:
        """Ask over a connection that is open already; None where there is none, or the worker has closed it."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        try:
            return self._exchange(connection, head, payload, deadline)
        except WorkerError:
            if time.monotonic() >= deadline:
                raise
            return None

    def _connect(self, deadline: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise WorkerError(
                f"the key worker does not answer on {self._path}: {error.strerror or 'too slow'}; start `run keys`"
            ) from error
        return connection

    def _exchange(
        self, connection: socket.socket, head: dict[str, object], payload: bytes, deadline: float
    ) -> tuple[dict[str, Any], bytes] | None:
        try:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            frames.send(connection, head, payload)
            answer = frames.receive(connection, deadline=deadline)
        except TimeoutError as error:
            connection.close()
            raise WorkerError(f"the key worker did not answer within {self._seconds:.0f} s") from error
        except OSError as error:
            connection.close()
            raise WorkerError(f"the connection to the key worker broke: {error.strerror}") from error
        except WorkerError:
            connection.close()
            raise
        if answer is None or len(self._idle) == self._idle.maxlen:
            with suppress(OSError):
                connection.close()
        else:
            self._idle.append(connection)
        return answer
