"""
The socketmap service: a mail server asks for the value of a key in a table, over a UNIX socket.

Requests and replies are netstrings (socketmap_table(5)): `NAME KEY` in, `OK VALUE`, `NOTFOUND `, `TEMP reason` or
`PERM reason` out, in the order asked, as many on one connection as the server likes. A request of wrong form or
above 10,000 octets closes the connection. A table that is not here is PERM; a look-up that raises is TEMP, so the
mail is deferred and never sent unprotected.
"""

import asyncio
import contextlib
import signal
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gatepost.errors import ConfigError, cause
from gatepost.log import logger
from gatepost.transport.answer import Answer, Found, LookUp, NotFound, Refused, TryAgain

MAX_REQUEST = 10_000
_MAX_DIGITS = len(str(MAX_REQUEST))
_BACKLOG = 1024
_TURN = 1.0  # seconds
_SOCKET_MODE = 0o666  # nothing secret is told here; the directory says who may come


class RequestError(ValueError):
    """The client does not speak socketmap."""


def serve(
    path: Path, tables: Mapping[str, LookUp], ready: Callable[[], None], pulse: Callable[[], None] = lambda: None
) -> None:
    """
    Serve the tables at a UNIX socket until SIGTERM or SIGINT; calls `ready` once it listens, and `pulse` again and
    again while it serves.

    What was answered is written before it ends. Raises ConfigError where it cannot listen.
    """
    listener = _listen(path)
    try:
        asyncio.run(_serve(listener, tables, ready, pulse))
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


async def _serve(
    listener: socket.socket, tables: Mapping[str, LookUp], ready: Callable[[], None], pulse: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    connections: set[_Connection] = set()
    server = await loop.create_unix_server(lambda: _Connection(tables, connections), sock=listener)
    try:
        ready()
        while not ended.is_set():
            pulse()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TURN)
    finally:
        server.close()
        for connection in tuple(connections):
            connection.close()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        listener.bind(str(path))
        path.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(f"policy.socket: cannot listen at {path}: {error.strerror or error}") from error
    return listener


class _Connection(asyncio.Protocol):
    """One client: requests in, replies out, in order."""

    def __init__(self, tables: Mapping[str, LookUp], connections: set["_Connection"]) -> None:
        self._tables = tables
        self._connections = connections
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_unix_server promises
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """Read no more from a client that does not take its replies."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Hang up once what is answered has been written."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        try:
            replies = [reply(self._tables, request) for request in requests(self._received)]
        except RequestError as error:
            logger.warning("a client of the policy service was cut off", cause=str(error))
            self.close()
            return
        if replies and self._transport is not None:
            self._transport.write(b"".join(replies))


def requests(received: bytearray) -> Iterator[bytes]:
    """Take every complete netstring from the beginning of `received`; raises RequestError for a wrong one."""
    while received:
        colon = received.find(b":", 0, _MAX_DIGITS + 1)
        digits = bytes(received[:colon] if colon >= 0 else received[: _MAX_DIGITS + 1])
        if not (digits.isdigit() and (colon >= 0 or len(digits) <= _MAX_DIGITS)):
            raise RequestError("its request does not begin with a length")
        if colon < 0:
            return
        size = int(digits)
        if size > MAX_REQUEST:
            raise RequestError(f"its request of {size} octets is longer than {MAX_REQUEST}")
        end = colon + 1 + size
        if len(received) <= end:
            return
        if received[end : end + 1] != b",":
            raise RequestError("its request does not end with a comma")
        request = bytes(received[colon + 1 : end])
        del received[: end + 1]
        yield request


def reply(tables: Mapping[str, LookUp], request: bytes) -> bytes:
    """Answer one request `NAME KEY`, as a netstring."""
    text = _spelled(_answer(tables, request)).encode("utf-8", "replace")
    return b"%d:%b," % (len(text), text)


def _answer(tables: Mapping[str, LookUp], request: bytes) -> Answer:
    name, blank, key = request.partition(b" ")
    table = tables.get(name.decode("ascii", "replace"))
    if table is None or not blank:
        return Refused("this service has no such table")
    try:
        return table(key.decode("utf-8"))
    except UnicodeDecodeError:
        return TryAgain("the key is not UTF-8")
    except Exception as error:  # noqa: BLE001 - whatever breaks defers the mail
        logger.error("a policy look-up failed", table=name.decode("ascii", "replace"), cause=cause(error))
        return TryAgain("the look-up failed; see the log of the policy service")


def _spelled(answer: Answer) -> str:
    match answer:
        case Found(text):
            return f"OK {text}"
        case NotFound():
            return "NOTFOUND "
        case TryAgain(reason):
            return f"TEMP {reason}"
        case Refused(reason):
            return f"PERM {reason}"
