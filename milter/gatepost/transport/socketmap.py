"""
The socketmap service: a mail server asks for the value of a key in a table, over a UNIX socket.

Requests and replies are netstrings (socketmap_table(5)): `NAME KEY` in, `OK VALUE`, `NOTFOUND `, `TEMP reason` or
`PERM reason` out, in the order asked, as many on one connection as the server likes. A request of wrong form or
above 10,000 octets closes the connection. A table that is not here is PERM; a look-up that raises or takes too
long is TEMP, so the mail is deferred and never sent unprotected.

A look-up that must wait holds up only the replies behind it on its own connection; a connection with many such is
read no further. A client that leaves cancels nothing: others may wait for the same, or come later.
"""

import asyncio
import contextlib
import signal
import socket
import stat
from asyncio import Future
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from gatepost.errors import ConfigError, cause
from gatepost.log import logger
from gatepost.transport import netstring
from gatepost.transport.answer import Answer, Found, LookUp, NotFound, Refused, TryAgain
from gatepost.transport.netstring import NetstringError

_MAX_REQUEST = 10_000  # octets
_BACKLOG = 1024
_TURN = 1.0  # seconds
_SECONDS = 5.0
_MOST_WAITING = 200  # look-ups of one connection
_AT_A_TIME = 200  # requests of one connection that are answered before others have their turn
_SOCKET_MODE = 0o666  # nothing secret is told here; the directory says who may come
_FAILED = TryAgain("the look-up failed; see the log of the policy service")
_LATE = TryAgain("the look-up is not done yet; a later try finds its answer")


def serve(
    path: Path,
    tables: Mapping[str, LookUp],
    ready: Callable[[], None],
    pulse: Callable[[], None] = lambda: None,
    seconds: float = _SECONDS,
) -> None:
    """
    Serve the tables at a UNIX socket until SIGTERM or SIGINT; calls `ready` once it listens, and `pulse` again and
    again while it serves. A look-up is answered within `seconds`.

    It runs on uvloop, which answers three times as many look-ups a second as Python's own loop.

    What was answered is written before it ends. Raises ConfigError where it cannot listen.
    """
    listener = _listen(path)
    try:
        uvloop.run(_serve(listener, Service(tables, seconds), ready, pulse))
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


async def _serve(
    listener: socket.socket, service: "Service", ready: Callable[[], None], pulse: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_unix_server(lambda: _Connection(service), sock=listener, backlog=_BACKLOG)
    try:
        ready()
        while not ended.is_set():
            pulse()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TURN)
    finally:
        server.close()
        service.hang_up()


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


class Service:
    """The tables, and the connections that ask them."""

    def __init__(self, tables: Mapping[str, LookUp], seconds: float = _SECONDS) -> None:
        """Take the tables by name, and the seconds within which a look-up is answered."""
        self._tables = {name.encode("ascii"): table for name, table in tables.items()}
        self.seconds = seconds
        self.connections: set[_Connection] = set()

    def hang_up(self) -> None:
        """Close every connection once what is answered has been written."""
        for connection in tuple(self.connections):
            connection.close()

    def ask(self, request: bytes) -> Answer | Future[Answer]:
        """Answer one request `NAME KEY`, at once or later."""
        name, blank, key = request.partition(b" ")
        table = self._tables.get(name)
        if table is None or not blank:
            return Refused("this service has no such table")
        try:
            return table(key.decode("utf-8"))
        except UnicodeDecodeError:
            return TryAgain("the key is not UTF-8")
        except Exception as error:  # noqa: BLE001 - whatever breaks defers the mail
            return _failed(error)


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request whose reply cannot be written yet; `by` is when it must be, by the loop's clock."""

    answer: Answer | Future[Answer]
    by: float


class _Connection(asyncio.Protocol):
    """One client: requests in, replies out, in order."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None  # for the first of those that wait
        self._turn: asyncio.Handle | None = None  # when the rest of what was received comes about
        self._choked = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; look-ups go on for others."""
        del exc
        self._transport = None
        self._service.connections.discard(self)
        for one in self._waiting:
            if isinstance(one.answer, Future):
                one.answer.remove_done_callback(self._reply_to_waiting)
        self._waiting.clear()
        self._received.clear()
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Hang up once what is answered has been written."""
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """Answer no more to a client that does not take its replies."""
        self._choked = True
        self._steer()

    def resume_writing(self) -> None:
        """Go on."""
        self._choked = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._received += data
        if self._turn is None:
            self._go_on()

    def _go_on(self) -> None:
        """Answer the next requests, as many as this connection may have done before others have their turn."""
        self._turn = None
        if self._transport is None or self._choked:
            return
        replies: list[bytes] = []
        start = 0
        try:
            for _ in range(_AT_A_TIME):
                taken = (
                    netstring.take(self._received, start, _MAX_REQUEST)
                    if len(self._waiting) < _MOST_WAITING
                    else None
                )
                if taken is None:
                    break
                request, start = taken
                self._answer(self._service.ask(request), replies)
            else:
                self._turn = self._loop.call_soon(self._go_on)
        except NetstringError as error:
            logger.warning("a client of the policy service was cut off", cause=f"its request: {error}")
            self._received.clear()
            self._transport.write(b"".join(replies))
            self._transport.close()
            return
        del self._received[:start]
        if replies:
            self._transport.write(b"".join(replies))
        self._steer()

    def _answer(self, answer: Answer | Future[Answer], replies: list[bytes]) -> None:
        """Reply, or, where there is something to wait for, remember to."""
        if isinstance(answer, Future) and not answer.done():
            answer.add_done_callback(self._reply_to_waiting)
        elif not self._waiting:
            replies.append(reply(answer))
            return
        self._waiting.append(_Waiting(answer, self._loop.time() + self._service.seconds))
        if self._timer is None:
            self._timer = self._loop.call_later(self._service.seconds, self._be_late)

    def _reply_to_waiting(self, _: Future[Answer] | None = None) -> None:
        """Write the replies that are now there and have none missing before them; then go on reading."""
        if self._transport is None:
            return
        replies = []
        now = self._loop.time()
        was_full = len(self._waiting) >= _MOST_WAITING
        while self._waiting:
            first = self._waiting[0]
            if isinstance(first.answer, Future) and not first.answer.done():
                if now < first.by:
                    break
                first.answer.remove_done_callback(self._reply_to_waiting)
                first.answer = _LATE
            replies.append(reply(first.answer))
            self._waiting.popleft()
        if replies:
            self._transport.write(b"".join(replies))
        if was_full and self._turn is None:
            self._turn = self._loop.call_soon(self._go_on)

    def _be_late(self) -> None:
        """Give the answers that have been waited for long enough, and come back for the next one."""
        self._timer = None
        self._reply_to_waiting()
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0].by, self._be_late)

    def _steer(self) -> None:
        """Read on, or leave the rest with the client for now."""
        if self._transport is None:
            return
        if self._choked or self._turn is not None or len(self._waiting) >= _MOST_WAITING:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def reply(answer: Answer | Future[Answer]) -> bytes:
    """Put an answer, or a future that is done, as a netstring; a look-up that broke is TEMP."""
    return netstring.encoded(_spelled(answer).encode("utf-8", "replace"))


def _spelled(answer: Answer | Future[Answer]) -> str:
    match answer:
        case Found(text):
            return f"OK {text}"
        case NotFound():
            return "NOTFOUND "
        case TryAgain(reason):
            return f"TEMP {reason}"
        case Refused(reason):
            return f"PERM {reason}"
        case Future():
            return _spelled(_result(answer))


def _result(future: Future[Answer]) -> Answer:
    if future.cancelled():
        return _LATE
    error = future.exception()
    return future.result() if error is None else _failed(error)


def _failed(error: BaseException) -> TryAgain:
    logger.error("a policy look-up failed", cause=cause(error))
    return _FAILED
