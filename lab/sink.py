"""
A receiving SMTP server that keeps each message exactly as it came over the wire.

Rules:
  * `Received.data` is what stood between DATA and the final dot: only dot-unstuffed (RFC 5321 §4.5.2),
    every line end as sent.
  * MAIL and RCPT are kept with all ESMTP parameters; a message taken inside TLS says so.
  * Faults are asked for by step and count: a reply of one's own, a hang, a dropped connection.

One thread per connection; `messages` may be read from any thread.
"""

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from lab.namespace import Namespace, listen
from lab.place import free_port

Step = Literal["CONNECT", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "DOT", "STORED"]

EXTENSIONS = frozenset({"8BITMIME", "SMTPUTF8", "DSN", "SIZE 104857600", "PIPELINING", "ENHANCEDSTATUSCODES"})
_MAX_MESSAGE = 200_000_000


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT as given: the address without its angle brackets, and the ESMTP parameters."""

    address: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS session that a message came through; `sni` is the server name the client asked for."""

    version: str
    cipher: str
    sni: str | None


@dataclass(frozen=True, slots=True)
class Received:
    """One message as received."""

    sender: str
    parameters: tuple[str, ...]
    recipients: tuple[Recipient, ...]
    data: bytes = field(repr=False)
    tls: Tls | None
    helo: str
    connection: int
    at: float

    @property
    def addresses(self) -> tuple[str, ...]:
        """The recipients' addresses alone."""
        return tuple(recipient.address for recipient in self.recipients)

    @property
    def header(self) -> bytes:
        """The header block, up to and with the last line end before the empty line."""
        return self.data.partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def body(self) -> bytes:
        """What follows the first empty line."""
        return self.data.partition(b"\r\n\r\n")[2]

    def values(self, name: str) -> list[str]:
        """Give the values of every field called `name`, unfolded, in order."""
        unfolded = self.header.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t")
        wanted = name.lower().encode()
        pairs = (line.partition(b":") for line in unfolded.split(b"\r\n"))
        return [
            value.strip().decode("utf-8", "replace") for key, _, value in pairs if key.strip().lower() == wanted
        ]


@dataclass(slots=True)
class _Fault:
    step: Step
    reply: str | None  # None: see `hang`
    hang: float
    left: int


class Sink:
    """
    The server. Use it as a context manager, or call `start` and `stop`.

    `context` is a server-side SSL context: STARTTLS is offered when it is given. `require_tls` refuses
    MAIL outside TLS. `extensions` are the EHLO lines besides STARTTLS. It
    listens at `address`, on the machine `within`.
    """

    def __init__(
        self,
        *,
        name: str = "sink.lab.test",
        port: int | None = None,
        extensions: Collection[str] = EXTENSIONS,
        context: ssl.SSLContext | None = None,
        require_tls: bool = False,
        address: str = "127.0.0.1",
        within: Namespace | None = None,
    ) -> None:
        self.name = name
        self.port = port or free_port()
        self.extensions = extensions
        self.context = context
        self.require_tls = require_tls
        self.address = address
        self.within = within
        self.connections = 0
        self._received: list[Received] = []
        self._faults: list[_Fault] = []
        self._changed = threading.Condition()
        self._sessions: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    @property
    def messages(self) -> list[Received]:
        """What has been received so far, in order."""
        with self._changed:
            return list(self._received)

    def clear(self) -> None:
        """Forget what was received and every fault asked for."""
        with self._changed:
            self._received.clear()
            self._faults.clear()

    def wait_for(self, count: int, timeout: float = 20) -> list[Received]:
        """Wait until at least `count` messages are there; raise TimeoutError with what came instead."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._received) >= count, timeout):
                came = [(message.sender, message.addresses) for message in self._received]
                raise TimeoutError(f"{self.name}: {len(came)} of {count} messages within {timeout} s: {came}")
            return list(self._received)

    def wait_for_recipients(self, addresses: Collection[str], timeout: float = 20) -> list[Received]:
        """Wait until every one of `addresses` has received a message; raise TimeoutError naming the missing."""

        def missing() -> set[str]:
            return set(addresses) - {address for message in self._received for address in message.addresses}

        with self._changed:
            if not self._changed.wait_for(lambda: not missing(), timeout):
                raise TimeoutError(f"{self.name}: nothing within {timeout} s for {sorted(missing())}")
            return list(self._received)

    def only(self, address: str) -> Received:
        """Wait for the message to `address` and give it; there may be one alone."""
        self.wait_for_recipients([address])
        (message,) = (one for one in self.messages if address in one.addresses)
        return message

    @property
    def addresses(self) -> list[str]:
        """Every address that received a message, sorted, once for each message."""
        return sorted(address for message in self.messages for address in message.addresses)

    def fail(self, step: Step, reply: str, times: int = 1) -> None:
        """Answer the next `times` commands of this step with `reply`, such as `451 4.3.0 later`."""
        self._add_fault(_Fault(step, reply, 0, times))

    def drop(self, step: Step, times: int = 1) -> None:
        """Close the connection instead of answering; `STORED` closes it after the message was kept."""
        self._add_fault(_Fault(step, None, 0, times))

    def hang(self, step: Step, seconds: float, times: int = 1) -> None:
        """Stay silent for so long, then close the connection."""
        self._add_fault(_Fault(step, None, seconds, times))

    def _add_fault(self, fault: _Fault) -> None:
        with self._changed:
            self._faults.append(fault)

    def take_fault(self, step: Step) -> _Fault | None:
        """Give the fault due at this step, if any, and count it."""
        with self._changed:
            for fault in self._faults:
                if fault.step == step and fault.left > 0:
                    fault.left -= 1
                    return fault
        return None

    def store(self, message: Received) -> None:
        """Keep a message and wake who waits for it."""
        with self._changed:
            self._received.append(message)
            self._changed.notify_all()

    def start(self) -> Self:
        """Listen."""
        self._listener = listen(self.within, (self.address, self.port))
        threading.Thread(
            target=self._accept, args=(self._listener,), name=f"sink {self.port}", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for session in list(self._sessions):
            with contextlib.suppress(OSError):
                session.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            session = _Session(self, client, self.connections)
            threading.Thread(target=self._serve, args=(session, client), daemon=True).start()

    def _serve(self, session: "_Session", client: socket.socket) -> None:
        self._sessions.add(client)
        try:
            session.run()
        except (OSError, EOFError):
            pass  # the client went away, or a fault was asked for
        finally:
            self._sessions.discard(client)
            session.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Session:
    """One client's connection: commands in, replies out, the envelope under way."""

    def __init__(self, sink: Sink, client: socket.socket, number: int) -> None:
        self._sink = sink
        self._socket = client
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = number
        self._buffer = bytearray()
        self._tls: Tls | None = None
        self._helo = ""
        self._reset()

    def _reset(self) -> None:
        self._sender: tuple[str, tuple[str, ...]] | None = None
        self._recipients: list[Recipient] = []

    def run(self) -> None:
        """Serve until QUIT."""
        self._answer("CONNECT", f"220 {self._sink.name} ESMTP lab")
        for line in self._lines():
            verb, _, argument = line.partition(" ")
            verb = verb.upper()
            if verb == "QUIT":
                self._say("221 2.0.0 bye")
                return
            self._command(verb, argument)

    def close(self) -> None:
        """Close the connection, inside TLS or not."""
        self._socket.close()

    def _command(self, verb: str, argument: str) -> None:
        handlers: dict[str, Callable[[str], None]] = {
            "EHLO": self._hello,
            "HELO": self._hello,
            "STARTTLS": self._start_tls,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": lambda _: self._say("250 2.0.0 ok"),
        }
        if verb in handlers:
            handlers[verb](argument)
        else:
            self._say("502 5.5.1 not here")

    def _mail(self, argument: str) -> None:
        if self._sink.require_tls and self._tls is None:
            self._say("530 5.7.0 STARTTLS first")
        elif self._answer("MAIL", "250 2.1.0 ok"):
            self._sender = _split_path(argument.partition(":")[2])

    def _rcpt(self, argument: str) -> None:
        if self._answer("RCPT", "250 2.1.5 ok"):
            self._recipients.append(Recipient(*_split_path(argument.partition(":")[2])))

    def _data(self, _: str) -> None:
        if not self._recipients:
            self._say("554 5.5.1 no valid recipients")
        elif self._answer("DATA", "354 end with a dot"):
            self._take_message()

    def _rset(self, _: str) -> None:
        self._reset()
        self._say("250 2.0.0 ok")

    def _hello(self, name: str) -> None:
        self._helo = name
        lines = [self._sink.name, *sorted(self._sink.extensions)]
        if self._sink.context is not None and self._tls is None:
            lines.append("STARTTLS")
        ends = itertools.chain(itertools.repeat("-", len(lines) - 1), " ")
        self._answer("EHLO", "\r\n".join(f"250{end}{line}" for end, line in zip(ends, lines, strict=True)))

    def _start_tls(self, _: str) -> None:
        context = self._sink.context
        if context is None:
            self._say("502 5.5.1 no TLS here")
            return
        if not self._answer("STARTTLS", "220 2.0.0 go ahead"):
            return
        names: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        wrapped = context.wrap_socket(self._socket, server_side=True)
        self._socket = wrapped
        cipher = wrapped.cipher()
        self._tls = Tls(wrapped.version() or "", cipher[0] if cipher else "", names[-1] if names else None)
        self._buffer.clear()  # RFC 3207 §4.2: what came before the handshake does not count
        self._reset()

    def _take_message(self) -> None:
        data = self._read_data()
        sender, recipients = self._sender or ("", ()), tuple(self._recipients)
        self._reset()
        if not self._passes("DOT"):
            return
        self._sink.store(
            Received(sender[0], sender[1], recipients, data, self._tls, self._helo, self._number, time.monotonic())
        )
        self._answer("STORED", "250 2.0.0 kept")

    def _read_data(self) -> bytes:
        """Read up to the final dot and take the stuffed dots out."""
        message = bytearray(b"\r\n") + self._buffer
        self._buffer.clear()
        searched = 0
        while (end := message.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(message) - 4)
            message += self._receive()
            if len(message) > _MAX_MESSAGE:
                raise EOFError("longer than any message of the lab")
        self._buffer += message[end + 5 :]
        return bytes(message[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]

    def _lines(self) -> Iterator[str]:
        while True:
            while (end := self._buffer.find(b"\n")) < 0:
                self._buffer += self._receive()
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            yield line.decode("utf-8", "surrogateescape")

    def _receive(self) -> bytes:
        chunk = self._socket.recv(1 << 16)
        if not chunk:
            raise EOFError
        return chunk

    def _answer(self, step: Step, reply: str) -> bool:
        """Say `reply`, or what a fault wants instead; tell whether the command went well."""
        if not self._passes(step):
            return False
        self._say(reply)
        return True

    def _passes(self, step: Step) -> bool:
        fault = self._sink.take_fault(step)
        if fault is None:
            return True
        if fault.reply is None:
            time.sleep(fault.hang)
            raise EOFError("a fault was asked for")
        self._say(fault.reply)
        return False

    def _say(self, reply: str) -> None:
        self._socket.sendall(reply.encode() + b"\r\n")


def _split_path(text: str) -> tuple[str, tuple[str, ...]]:
    """Split `<a@b> KEY=VALUE …` into the address and its parameters; a quoted local part may hold anything."""
    text = text.strip()
    if not text.startswith("<"):
        address, *parameters = text.split()
        return address, tuple(parameters)
    quoted = False
    for place, character in enumerate(text):
        if character == '"' and text[place - 1] != "\\":
            quoted = not quoted
        elif character == ">" and not quoted:
            return text[1:place], tuple(text[place + 1 :].split())
    return text[1:], ()
