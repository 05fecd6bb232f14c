"""
An SMTP client that sends exactly the bytes it is given.

`smtplib` normalises line ends and parameters; this one adds nothing but stuffed dots
(RFC 5321 §4.5.2), so bare CR and LF, NUL and 8-bit bytes arrive as written. `send_until_taken`
retries as a mail server does: on 4xx, on a lost connection, on a lost reply.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lab.namespace import Namespace, connect


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: its code, and all its text."""

    code: int
    text: str

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx or 3xx."""
        return self.code < 400  # noqa: PLR2004 - RFC 5321 §4.2.1

    @property
    def temporary(self) -> bool:
        """Whether it is a 4xx."""
        return 400 <= self.code < 500  # noqa: PLR2004 - RFC 5321 §4.2.1


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    Who sends to whom.

    An address may carry its ESMTP parameters behind a blank: `b@x.test NOTIFY=SUCCESS`.
    """

    sender: str
    recipients: tuple[str, ...]

    @classmethod
    def of(cls, sender: str, *recipients: str) -> Self:
        """Make an envelope of a sender and recipients."""
        return cls(sender, recipients)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server said to one message: the last reply, and those to each RCPT."""

    reply: Reply
    recipients: tuple[Reply, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the message was taken."""
        return self.reply.ok

    @property
    def queue_id(self) -> str:
        """Postfix's queue ID out of the reply to the final dot; empty if there is none."""
        return self.reply.text.rpartition("queued as ")[2].strip() if "queued as " in self.reply.text else ""


class Client:
    """
    One connection, on the machine `within`. Use it as a context manager; several messages may follow one another.
    """

    def __init__(
        self, port: int, *, helo: str = "client.lab.test", timeout: float = 60, within: Namespace | None = None
    ) -> None:
        self._socket = connect(within, ("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self.greeting = self.read()
        self.extensions = self.command(f"EHLO {helo}").text.split("\n")[1:]

    def starttls(self, context: ssl.SSLContext | None = None, *, greet: bool = True) -> Reply:
        """Say STARTTLS, shake hands, by default with anybody, and `greet` by EHLO."""
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reply = self.command("STARTTLS")
        self._file.close()
        self._socket = context.wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")
        if greet:
            self.command("EHLO client.lab.test")
        return reply

    def read(self) -> Reply:
        """
        Read one reply of any number of lines.

        Raises ConnectionError if the server hung up.
        """
        lines: list[str] = []
        while True:
            line = self._file.readline().decode("utf-8", "replace")
            if not line:
                raise ConnectionError("the server closed the connection")
            lines.append(line[4:].rstrip("\r\n"))
            if line[3:4] != "-":
                return Reply(int(line[:3]), "\n".join(lines))

    def command(self, line: str | bytes) -> Reply:
        """Send one command line and read its reply."""
        self._socket.sendall(
            (line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line) + b"\r\n"
        )
        return self.read()

    def mail(self, sender: str) -> Reply:
        """Say MAIL FROM; parameters follow the address after a blank."""
        return self.command(f"MAIL FROM:{_path(sender)}")

    def rcpt(self, recipient: str) -> Reply:
        """Say RCPT TO; parameters follow the address after a blank."""
        return self.command(f"RCPT TO:{_path(recipient)}")

    def data(self, message: bytes) -> Reply:
        """Say DATA, send `message` with its dots stuffed, and read the reply to the final dot."""
        reply = self.command("DATA")
        if not reply.ok:
            return reply
        self._socket.sendall(stuff_dots(message))
        return self.read()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are and read nothing."""
        self._socket.sendall(data)

    def rset(self) -> Reply:
        """Say RSET."""
        return self.command("RSET")

    def xclient(self, **attributes: str) -> Reply:
        """Pose as another client (Postfix's XCLIENT); a new EHLO follows."""
        reply = self.command("XCLIENT " + " ".join(f"{key}={value}" for key, value in attributes.items()))
        self.command("EHLO client.lab.test")
        return reply

    def send(self, envelope: Envelope, message: bytes) -> Outcome:
        """Send one message; a refused recipient is left out, as a mail server does."""
        reply = self.mail(envelope.sender)
        if not reply.ok:
            return Outcome(reply)
        recipients = tuple(self.rcpt(recipient) for recipient in envelope.recipients)
        if not any(recipient.ok for recipient in recipients):
            self.rset()
            return Outcome(recipients[0], recipients)
        return Outcome(self.data(message), recipients)

    def close(self) -> None:
        """Say QUIT if the server still listens, and close."""
        with contextlib.suppress(OSError, ValueError):
            self.command("QUIT")
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stuff_dots(message: bytes) -> bytes:
    """
    Double a dot that opens a line, and end the message with a dot on a line of its own.

    A bare LF counts as a line end here: Postfix takes it for one, and would see the end in LF, dot, LF.
    """
    end = b"" if message.endswith(b"\r\n") or not message else b"\r\n"
    stuffed = (b"\n" + message).replace(b"\n.", b"\n..")[1:]
    return stuffed + end + b".\r\n"


def send(
    port: int, envelope: Envelope, message: bytes, *, timeout: float = 60, within: Namespace | None = None
) -> Outcome:
    """Send one message over a connection of its own."""
    with Client(port, timeout=timeout, within=within) as client:
        return client.send(envelope, message)


def send_until_taken(
    port: int,
    envelope: Envelope,
    message: bytes,
    *,
    timeout: float = 60,
    pause: float = 0.2,
    after_try: Callable[[], object] = lambda: None,
) -> int:
    """
    Send as a mail server does until every recipient was taken or refused for good; give the number of tries.

    A recipient that was taken is not sent to again; a lost reply counts as not taken (RFC 1047). `after_try` is
    called after each try.
    Raises TimeoutError with the last answer when `timeout` seconds have passed, and
    ConnectionRefusedError's message if nobody listened.
    """
    deadline = time.monotonic() + timeout
    left: Sequence[str] = envelope.recipients
    tries, last = 0, "nothing"
    while left:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not taken after {tries} tries; the last answer was {last}")
        tries += 1
        try:
            outcome = send(port, Envelope(envelope.sender, tuple(left)), message, timeout=timeout)
        except (OSError, ValueError) as error:
            last = repr(error)
        else:
            last = repr(outcome)
            left = _still_to_send(left, outcome)
        after_try()
        if left:
            time.sleep(pause)
    return tries


def _still_to_send(recipients: Sequence[str], outcome: Outcome) -> Sequence[str]:
    """Give the recipients that a mail server would try again after this outcome."""
    replies = outcome.recipients or (outcome.reply,) * len(recipients)
    return [
        recipient
        for recipient, reply in zip(recipients, replies, strict=True)
        if reply.temporary or (reply.ok and outcome.reply.temporary)
    ]


def _path(address: str) -> str:
    path, blank, parameters = address.partition(" ")
    return f"<{path}>{blank}{parameters}"
