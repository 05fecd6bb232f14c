"""
The mail server's side of the milter protocol, one step at a time, for what no real mail server would say.

miltertest negotiates and reads answers; what is said goes out as the bytes given, so that a step may come out of
order and an address need not be text. Where the milter asked for no reply, none is waited for.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from miltertest import MilterConnection

Answer = tuple[str, dict[str, Any]]
"""A reply's letter (libmilter's mfdef.h), and its parts by miltertest's names."""


class Dialog:
    """One connection to a milter, negotiated."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._milter = MilterConnection(connection)
        self._milter.optneg_mta()

    def say(self, step: bytes, *strings: bytes, data: bytes = b"") -> None:
        """Say one step by its letter: NUL-terminated strings, then data."""
        packet = step + b"".join(string + b"\0" for string in strings) + data
        self._socket.sendall(struct.pack(">I", len(packet)) + packet)

    def answer(self) -> Answer:
        """Read one reply."""
        letter, parts = self._milter._recv()  # noqa: SLF001 - what is public leaves signs of life (`p`) out
        return letter, parts

    def macros(self, step: bytes, **values: bytes) -> None:
        """Define macros for a step."""
        pairs = (part for name, value in values.items() for part in (name.encode(), value))
        self.say(b"D", data=step + b"".join(part + b"\0" for part in pairs))

    def connect(self) -> None:
        """Say who the client is."""
        self.say(b"C", b"client.lab.test", data=b"4" + struct.pack(">H", 25) + b"127.0.0.1\0")

    def mail(self, sender: bytes, *parameters: bytes) -> None:
        """Begin a message."""
        self.say(b"M", sender, *parameters)

    def rcpt(self, recipient: bytes, *parameters: bytes) -> Answer:
        """Name a recipient."""
        self.say(b"R", recipient, *parameters)
        return self.answer()

    def header(self, **fields: bytes) -> None:
        """Give header fields, and the end of the header."""
        for name, value in fields.items():
            self.say(b"L", name.encode(), value)
        self.say(b"N")

    def body(self, chunk: bytes) -> Answer:
        """Give a piece of the body."""
        self.say(b"B", data=chunk)
        return self.answer()

    def end(self) -> list[Answer]:
        """End the message; gives every reply, the verdict last."""
        self.say(b"E")
        return self.verdict()

    def verdict(self) -> list[Answer]:
        """Read replies up to the verdict."""
        answers = [self.answer()]
        while answers[-1][0] not in "acdrty":
            answers.append(self.answer())
        return answers

    def message(self, subject: bytes, *recipients: bytes, body: bytes = b"hello\r\n") -> list[Answer]:
        """Send a whole message and give what the end of it was answered with."""
        self.mail(b"<sue@hosp.test>")
        for recipient in recipients or (b"<bob@plain.test>",):
            self.rcpt(recipient)
        self.header(Subject=b" " + subject)
        self.body(body)
        return self.end()


@contextmanager
def dialog(path: Path, *, patience: float = 30) -> Iterator[Dialog]:
    """Connect to a milter's UNIX socket and negotiate; wait at most `patience` seconds for each reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        connection.connect(str(path))
        yield Dialog(connection)
