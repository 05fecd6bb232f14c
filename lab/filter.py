"""
A content filter that speaks SMTP, as amavis does: what it is given at one port it hands back to another.

It stands between two mail servers and passes their words on, line by line: nothing is taken that the mail server
behind it did not take. It adds a field `X-Filtered` to each message and keeps the message as it came.
"""

import socket
from typing import BinaryIO

from lab.listening import Listening
from lab.place import free_port

_NOT_OFFERED = frozenset({b"PIPELINING", b"CHUNKING"})


class Filter(Listening):
    """One filter. Use it as a context manager; `seen` holds every message that came, dots still stuffed."""

    def __init__(self, back: int) -> None:
        self.port = free_port()
        self.seen: list[bytes] = []
        self._back = back
        super().__init__(socket.create_server(("127.0.0.1", self.port), backlog=50))

    def serve(self, client: socket.socket) -> None:
        """Pass words on until either side hangs up."""
        with socket.create_connection(("127.0.0.1", self._back)) as far:
            replies = far.makefile("rb")
            self._answer(replies, client)
            commands = client.makefile("rb")
            while command := commands.readline():
                far.sendall(command)
                code = self._answer(replies, client)
                if command.strip().upper() == b"DATA" and code.startswith(b"354"):
                    message = b"".join(iter(commands.readline, b".\r\n"))
                    self.seen.append(message)
                    far.sendall(b"X-Filtered: yes\r\n" + message + b".\r\n")
                    self._answer(replies, client)

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
