"""
Proxies that know the protocol step and let a test strike at exactly that moment.

`MilterProxy` stands on the milter's UNIX socket, `ListenerProxy` on the re-injection listener's port. Both
parse just enough to name each step:

    >MAIL >RCPT >HEADER >EOH >BODY >EOM …   what the mail server tells the milter
    <INSHEADER <CHGHEADER <DELRCPT <REPLBODY <ACCEPT …   what the milter answers
    smtp>MAIL smtp>RCPT smtp>DATA smtp>DOT, smtp<MAIL …   the re-injection: commands, and replies to them

A `Trap` is armed for one step: when enough connections stand there, it acts once, before or after the step
is forwarded.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_TO_MILTER = {
    b"O": "OPTIONS", b"D": "MACROS", b"C": "CONNECT", b"H": "HELO", b"M": "MAIL", b"R": "RCPT", b"T": "DATA",
    b"L": "HEADER", b"N": "EOH", b"B": "BODY", b"E": "EOM", b"A": "ABORT", b"Q": "QUIT", b"K": "QUIT-NEW",
}  # fmt: skip
_FROM_MILTER = {
    b"O": "OPTIONS", b"+": "ADDRCPT", b"2": "ADDRCPT-PAR", b"-": "DELRCPT", b"h": "ADDHEADER", b"i": "INSHEADER",
    b"m": "CHGHEADER", b"b": "REPLBODY", b"e": "CHGFROM", b"p": "PROGRESS", b"a": "ACCEPT", b"c": "CONTINUE",
    b"d": "DISCARD", b"r": "REJECT", b"t": "TEMPFAIL", b"y": "REPLYCODE", b"s": "SKIP", b"q": "QUARANTINE",
}  # fmt: skip
_PATIENCE = 3.0  # seconds that a connection waits at the step for the others


class Trap:
    """
    Waits at one step of the protocol; `seen` counts every step that passed, armed or not.

    It strikes when as many connections as asked for stand there, or, after some patience, with fewer.
    """

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.struck = threading.Event()
        self.caught = 0
        self._lock = threading.Lock()
        self._step = ""
        self._after = False
        self._gate = threading.Event()
        self._strike: Callable[[], None] = _nothing
        self._wanted = 1
        self._connections: set[int] = set()

    def arm(self, step: str, strike: Callable[[], None], *, connections: int = 1, after: bool = False) -> None:
        """Strike once, when so many connections stand at `step`; `after` forwards the step first."""
        with self._lock:
            self._step, self._after, self.caught = step, after, 0
            self._connections = set()
            self.struck.clear()
            self._wanted, self._strike, self._gate = connections, strike, threading.Event()

    def disarm(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._step = ""
            self._gate.set()

    def pass_by(self, step: str, connection: int, *, forwarded: bool) -> None:
        """Tell that a connection is at `step`; returns at once unless the trap is armed for it."""
        with self._lock:
            self.seen[step] += not forwarded
            if step != self._step or forwarded != self._after or connection in self._connections:
                return
            self._connections.add(connection)
            gate = self._gate
            if len(self._connections) >= self._wanted:
                self._act()
        if not gate.wait(_PATIENCE):
            with self._lock:
                if not gate.is_set():
                    self._act()

    def _act(self) -> None:
        """Strike and let all go on; the lock is held."""
        self._strike()
        self.caught, self._step = len(self._connections), ""
        self.struck.set()
        self._gate.set()


def _nothing() -> None:
    """Strike nobody."""


class _Proxy:
    """What both proxies share: a listener, two threads per connection, and a clean end."""

    def __init__(self, trap: Trap, listener: socket.socket) -> None:
        self.trap = trap
        self._listener = listener
        self._open: set[socket.socket] = set()
        self._count = 0

    def start(self) -> Self:
        """Begin to accept connections."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop accepting, and cut every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _cut(connection)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._count += 1
            threading.Thread(target=self._serve, args=(near, self._count), daemon=True).start()

    def _serve(self, near: socket.socket, number: int) -> None:
        try:
            near, far = self._join(near)
        except OSError:
            near.close()
            return
        self._open |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near, number, False), daemon=True)
        back.start()
        self._pump(near, far, number, True)
        back.join()
        self._open -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, target: socket.socket, number: int, towards: bool) -> None:  # noqa: FBT001
        try:
            self._forward(source, target, number, towards)
        except (OSError, EOFError, ValueError):
            pass  # one side is gone, as was asked for
        finally:
            _cut(source)
            _cut(target)

    def cut(self) -> None:
        """Cut every connection that is open; new ones are accepted as before."""
        for one in tuple(self._open):
            _cut(one)

    def _join(self, near: socket.socket) -> tuple[socket.socket, socket.socket]:
        raise NotImplementedError

    def _forward(self, source: socket.socket, target: socket.socket, number: int, towards: bool) -> None:  # noqa: FBT001
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class MilterProxy(_Proxy):
    """Stands at `path`, a UNIX socket that Postfix may connect to, before the milter's own at `target`."""

    def __init__(self, trap: Trap, path: Path, target: Path) -> None:
        listener = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(100)
        super().__init__(trap, listener)
        self._target = target

    def _join(self, near: socket.socket) -> tuple[socket.socket, socket.socket]:
        far = socket.socket(socket.AF_UNIX)
        far.connect(str(self._target))
        return near, far

    def _forward(self, source: socket.socket, target: socket.socket, number: int, towards: bool) -> None:  # noqa: FBT001
        arrow, names = (">", _TO_MILTER) if towards else ("<", _FROM_MILTER)
        stream = source.makefile("rb")
        while True:
            head = _exactly(stream.read(4), 4)
            packet = head + _exactly(stream.read(length := struct.unpack(">I", head)[0]), length)
            step = arrow + names.get(packet[4:5], repr(packet[4:5]))
            self.trap.pass_by(step, number, forwarded=False)
            target.sendall(packet)
            self.trap.pass_by(step, number, forwarded=True)


class ListenerProxy(_Proxy):
    """
    Stands at a port before the re-injection listener, and reads what goes through its TLS.

    `listener_pem` is the listener's certificate with its key, `client_pem` Gatepost's own: with both it
    can pose as either side. Only root can read them.
    """

    def __init__(self, trap: Trap, port: int, target: int, *, listener_pem: Path, client_pem: Path) -> None:
        super().__init__(trap, socket.create_server(("127.0.0.1", port), backlog=100))
        self._target = target
        self._near = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._near.load_cert_chain(listener_pem)
        self._far = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._far.check_hostname = False
        self._far.load_verify_locations(listener_pem)
        self._far.load_cert_chain(client_pem)
        self._last: dict[int, str] = {}

    def _join(self, near: socket.socket) -> tuple[socket.socket, socket.socket]:
        near.settimeout(30)
        far = self._far.wrap_socket(socket.create_connection(("127.0.0.1", self._target)))
        wrapped = self._near.wrap_socket(near, server_side=True)
        wrapped.settimeout(None)
        return wrapped, far

    def _forward(self, source: socket.socket, target: socket.socket, number: int, towards: bool) -> None:  # noqa: FBT001
        stream = source.makefile("rb")
        while line := stream.readline():
            if towards:
                self._command(line, target, number)
                if self._last[number] == "DATA":
                    self._content(stream.readline, target, number)
            else:
                self._reply(line, target, number)

    def _command(self, line: bytes, target: socket.socket, number: int) -> None:
        self._last[number] = verb = line[:4].strip().upper().decode("ascii", "replace")
        self.trap.pass_by(f"smtp>{verb}", number, forwarded=False)
        target.sendall(line)
        self.trap.pass_by(f"smtp>{verb}", number, forwarded=True)

    def _content(self, readline: Callable[[], bytes], target: socket.socket, number: int) -> None:
        while (line := readline()) != b".\r\n":
            if not line:
                raise EOFError
            target.sendall(line)
        self._last[number] = "DOT"
        self.trap.pass_by("smtp>DOT", number, forwarded=False)
        target.sendall(line)
        self.trap.pass_by("smtp>DOT", number, forwarded=True)

    def _reply(self, line: bytes, target: socket.socket, number: int) -> None:
        step = f"smtp<{self._last.get(number, 'CONNECT')}"
        final = line[3:4] != b"-"
        if final:
            self.trap.pass_by(step, number, forwarded=False)
        target.sendall(line)
        if final:
            self.trap.pass_by(step, number, forwarded=True)


def _exactly(data: bytes, count: int) -> bytes:
    if len(data) != count:
        raise EOFError
    return data


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
