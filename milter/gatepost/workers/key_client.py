"""
The way to the key worker: asks it over its socket, keeps connections open, and never waits longer than a deadline.

A worker that is down, slow or breaks off raises WorkerError, which is temporary: the message is tried again later.
Messages are handed over as unlinked files, and come back in such.
"""

import os
import re
import select
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from gatepost.crypto.openpgp import Opened, Verification
from gatepost.crypto.own_signature import Signature
from gatepost.directory.stamp import DIGEST, Stamp
from gatepost.errors import CryptoError, WorkerError
from gatepost.message.address import Address
from gatepost.message.body import Body, FileBody, Spool
from gatepost.workers import frames
from gatepost.workers.frames import Frame

_SECONDS = 90.0
_MOST = 64 << 20  # octets
_TICK = 5.0  # seconds between two calls of on_wait
_MICALG = re.compile(r"[a-z0-9-]{1,32}")
_STATUSES = frozenset({"pass", "fail", "none"})


class KeyClient:
    """Implements Opener, Signatory, and the release of data keys. Thread-safe."""

    def __init__(
        self, path: Path, seconds: float = _SECONDS, *, directory: Path | None = None, most: int = _MOST
    ) -> None:
        """
        Take the socket's path, the seconds that one request may last, and of opened messages: the directory for
        their files, and the octets that one may have.
        """
        self._path = path
        self._seconds = seconds
        self._directory = directory
        self._most = most
        self._idle: deque[socket.socket] = deque(maxlen=16)  # a deque's ends are thread-safe

    def ping(self) -> None:
        """Ask whether the worker answers; raises WorkerError."""
        self._ask({"op": "ping"})

    def open(
        self,
        ciphertext: Body,
        recipient: Address,
        sender: str,
        *,
        seconds: float = _SECONDS,
        on_wait: Callable[[], object] = lambda: None,
        domain_keys: bool = True,
    ) -> Opened | None:
        """Have a message opened for one recipient; None where it cannot be decrypted. Raises WorkerError."""
        whose: dict[str, object] = {"recipient": recipient.text, "sender": sender, "domain_keys": domain_keys}
        request = {"op": "open", "most": self._most, **whose}
        wait = _Wait(min(seconds, self._seconds), on_wait)
        with ExitStack() as stack:
            opened = stack.enter_context(tempfile.TemporaryFile(dir=self._directory, prefix="opened-"))
            encrypted = stack.enter_context(_file_of(ciphertext))
            head = self._ask(request, files=(encrypted.fileno(), opened.fileno()), wait=wait).head
            if head["status"] == "undecryptable":
                return None
            return _read_answer(head, FileBody(opened.fileno()))

    def sign(
        self,
        entity: Body,
        kind: str,
        author: Address,
        sender: Address,
        *,
        seconds: float = _SECONDS,
        on_wait: Callable[[], object] = lambda: None,
    ) -> Signature | None:
        """Have an entity signed with a key of its author; None where there is none. Raises WorkerError."""
        request: dict[str, object] = {"op": "sign", "kind": kind, "author": author.text, "sender": sender.text}
        wait = _Wait(min(seconds, self._seconds), on_wait)
        with _file_of(entity) as file:
            answer = self._ask(request, files=(file.fileno(),), wait=wait)
        if answer.head["status"] == "unsigned":
            return None
        micalg = answer.head.get("micalg")
        if not isinstance(micalg, str) or not _MICALG.fullmatch(micalg) or not answer.payload:
            raise WorkerError("the key worker's answer lacks the signature")
        return Signature(answer.payload, micalg)

    def release(self, held: UUID, wrapped: bytes) -> bytes:
        """Unwrap the data key of one held copy; raises CryptoError where it does not open, WorkerError."""
        return self._ask({"op": "release", "held": str(held)}, wrapped).payload

    def prove(self, stamps: Sequence[Stamp]) -> tuple[bool, ...]:
        """Ask of each stamp whether the key worker made it; raises WorkerError."""
        # A code of another length is none: zeros stand for it.
        codes = [one.code if len(one.code) == DIGEST else bytes(DIGEST) for one in stamps]
        pairs = b"".join(one.statement() + code for one, code in zip(stamps, codes, strict=True))
        found = self._ask({"op": "prove"}, pairs).payload
        if len(found) != len(stamps):
            raise WorkerError("the key worker did not answer for each stamp")
        return tuple(one == 1 for one in found)

    def heads(self) -> dict[str, int]:
        """Ask for the number of the latest stamp of each host that the worker has stamped; raises WorkerError."""
        found = self._ask({"op": "prove"}).head.get("heads")
        if not isinstance(found, dict):
            raise WorkerError("the key worker did not tell how far events are stamped")
        return {str(host): int(number) for host, number in found.items()}

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().close()

    def _ask(
        self,
        head: dict[str, object],
        payload: bytes = b"",
        files: Sequence[int] = (),
        wait: "_Wait | None" = None,
    ) -> Frame:
        wait = wait or _Wait(self._seconds, lambda: None)
        request = _Request(head, payload, files)
        answer = self._ask_idle(request, wait) or self._exchange(self._connect(wait), request, wait)
        if answer is None:
            raise WorkerError("the key worker closed the connection without an answer; is it being restarted?")
        answer.close()  # no answer brings a file that is wanted
        status = answer.head.get("status")
        if status in {"ok", "undecryptable", "unsigned"}:
            return answer
        text = str(answer.head.get("text") or "the key worker gave no reason")
        if status == "refused" and head["op"] == "release":
            raise CryptoError(text)
        raise WorkerError(text)

    def _ask_idle(self, request: "_Request", wait: "_Wait") -> Frame | None:
        """Ask over a connection that is open already; None where there is none, or the worker has closed it."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        try:
            return self._exchange(connection, request, wait)
        except WorkerError:
            if time.monotonic() >= wait.deadline:
                raise
            return None

    def _connect(self, wait: "_Wait") -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(wait.left())
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise WorkerError(
                f"the key worker does not answer on {self._path}: {error.strerror or 'too slow'}; start `run keys`"
            ) from error
        return connection

    def _exchange(self, connection: socket.socket, request: "_Request", wait: "_Wait") -> Frame | None:
        try:
            connection.settimeout(wait.left())
            frames.send(connection, request.head, request.payload, request.files)
            wait.until_readable(connection)
            answer = frames.receive(connection, deadline=wait.deadline)
        except TimeoutError as error:
            connection.close()
            raise WorkerError(f"the key worker did not answer within {wait.seconds:.0f} s") from error
        except OSError as error:
            connection.close()
            raise WorkerError(f"the connection to the key worker broke: {error.strerror}") from error
        except BaseException:  # what on_wait raises, too, leaves an answer under way
            connection.close()
            raise
        if answer is None or len(self._idle) == self._idle.maxlen:
            with suppress(OSError):
                connection.close()
        else:
            self._idle.append(connection)
        return answer


def _read_answer(head: Mapping[str, Any], plaintext: Body) -> Opened:
    found, digest = head.get("verification"), str(head.get("digest") or "")
    if not isinstance(found, dict) or found.get("status") not in _STATUSES or not digest:
        raise WorkerError("the key worker's answer lacks the signature's status")
    verification = Verification(found["status"], str(found.get("fingerprint", "")))
    kind = "smime" if head.get("kind") == "smime" else "openpgp"
    return Opened(plaintext, bytes.fromhex(digest), verification, kind, intact=head.get("intact") is True)


@dataclass(frozen=True, slots=True)
class _Request:
    head: dict[str, object]
    payload: bytes
    files: Sequence[int]


@contextmanager
def _file_of(body: Body) -> Iterator[IO[bytes]]:
    """Give a file that holds the body: its own, or one in memory."""
    if isinstance(body, Spool) and body.file is not None:
        yield body.file
        return
    with os.fdopen(os.memfd_create("ciphertext"), "w+b") as file:
        file.writelines(body.chunks())
        file.flush()
        yield file


class _Wait:
    """One request's deadline; `on_wait` is called about every 5 s before it."""

    def __init__(self, seconds: float, on_wait: Callable[[], object]) -> None:
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self._on_wait = on_wait

    def left(self) -> float:
        """Give the seconds left, a little where there are none: a socket takes 0 for no waiting at all."""
        return max(self.deadline - time.monotonic(), 0.001)

    def until_readable(self, connection: socket.socket) -> None:
        """Wait for the answer to begin; raises TimeoutError, and what `on_wait` raises."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        while not poll.poll(min(self.left(), _TICK) * 1000):
            if time.monotonic() >= self.deadline:
                raise TimeoutError
            self._on_wait()
