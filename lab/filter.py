"""
A content filter that speaks SMTP, as amavis does: what it is given at one port it hands back to another.

It stands between two mail servers and passes their words on, line by line: nothing is taken that the mail server
behind it did not take. It adds a field `X-Filtered` to each message and keeps the message as it came.
"""

import contextlib
import socket
import threading
from types import TracebackType
from typing import BinaryIO, Self

from lab.place import free_port

_NOT_OFFERED = frozenset({b"PIPELINING", b"CHUNKING"})


class Filter:
    """One filter. Use it as a context manager; `seen` holds every message that came, dots still stuffed."""

    def __init__(self, back: int) -> None:
        self.port = free_port()
        self.seen: list[bytes] = []
        self._back = back
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=50)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._back)) as far:
            replies = far.makefile("rb")
            self._answer(replies, near)
            commands = near.makefile("rb")
            while command := commands.readline():
                far.sendall(command)
                code = self._answer(replies, near)
                if command.strip().upper() == b"DATA" and code.startswith(b"354"):
                    message = b"".join(iter(commands.readline, b".\r\n"))
                    self.seen.append(message)
                    far.sendall(b"X-Filtered: yes\r\n" + message + b".\r\n")
                    self._answer(replies, near)

    def _answer(self, replies: BinaryIO, near: socket.socket) -> bytes:
        """Pass one reply on, whatever its lines; pipelining is not offered, so that each command has its own."""
        lines: list[bytes] = []
        while line := replies.readline():
            if line[4:].strip().upper() not in _NOT_OFFERED:
                lines.append(line)
            if line[3:4] != b"-":
                lines[-1] = lines[-1][:3] + b" " + lines[-1][4:]
                near.sendall(b"".join(lines))
                return lines[-1]
        raise ConnectionError("the mail server closed the connection")
