"""
Proxies that know the protocol step and let a test strike at exactly that moment.

`MilterProxy` stands on the milter's UNIX socket, `ListenerProxy` on the re-injection listener's port. Both
parse just enough to name each step:

    >MAIL >RCPT >HEADER >EOH >BODY >EOM …   what the mail server tells the milter
    <INSHEADER <CHGHEADER <DELRCPT <REPLBODY <ACCEPT …   what the milter answers
    smtp>MAIL smtp>RCPT smtp>DATA smtp>DOT, smtp<MAIL …   the re-injection: commands, and replies to them
    notice>MAIL notice>RCPT …   the same for Gatepost's own notices, known by their null sender

Each step is told to a watcher (`lab.trap`), before and after it is forwarded, with the message that it belongs to.
"""

import contextlib
import functools
import itertools
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.shared_tls import SharedTls
from lab.trap import Answer, Passing, Watch

_TO_MILTER = {
    b"O": "OPTIONS", b"D": "MACROS", b"C": "CONNECT", b"H": "HELO", b"M": "MAIL", b"R": "RCPT", b"T": "DATA",
    b"L": "HEADER", b"N": "EOH", b"B": "BODY", b"E": "EOM", b"A": "ABORT", b"Q": "QUIT", b"K": "QUIT-NEW",
}  # fmt: skip
_FROM_MILTER = {
    b"O": "OPTIONS", b"+": "ADDRCPT", b"2": "ADDRCPT-PAR", b"-": "DELRCPT", b"h": "ADDHEADER", b"i": "INSHEADER",
    b"m": "CHGHEADER", b"b": "REPLBODY", b"e": "CHGFROM", b"p": "PROGRESS", b"a": "ACCEPT", b"c": "CONTINUE",
    b"d": "DISCARD", b"r": "REJECT", b"t": "TEMPFAIL", b"y": "REPLYCODE", b"s": "SKIP", b"q": "QUARANTINE",
}  # fmt: skip
_numbers = itertools.count(1)

Wire = socket.socket | SharedTls


class _Proxy:
    """What both proxies share: a listener, two threads per connection, and a clean end."""

    def __init__(self, watch: Watch, listener: socket.socket) -> None:
        self._watch = watch
        self._listener = listener
        self._open: set[Wire] = set()
        self._messages: dict[int, str] = {}

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
            threading.Thread(target=self._serve, args=(near, next(_numbers)), daemon=True).start()

    def _serve(self, accepted: socket.socket, number: int) -> None:
        try:
            near, far = self._join(accepted)
        except OSError:
            accepted.close()
            return
        self._open |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near, number, False), daemon=True)
        back.start()
        self._pump(near, far, number, True)
        back.join()
        self._open -= {near, far}
        self._messages.pop(number, None)
        near.close()
        far.close()

    def _pump(self, source: Wire, target: Wire, number: int, towards: bool) -> None:  # noqa: FBT001
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

    def _pass(self, step: str, number: int, source: Wire, send: Callable[[], None]) -> None:
        """Forward a step unless the watcher wants otherwise; `source` is who sent it."""
        message = self._messages.get(number, "")
        action = self._watch.pass_by(Passing(step, number, message, forwarded=False))
        if isinstance(action, Answer):
            source.sendall(action.reply + b"\r\n")
        if action is not None:
            raise EOFError
        send()
        self._watch.pass_by(Passing(step, number, message, forwarded=True))

    def _join(self, near: socket.socket) -> tuple[Wire, Wire]:
        raise NotImplementedError

    def _forward(self, source: Wire, target: Wire, number: int, towards: bool) -> None:  # noqa: FBT001
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class MilterProxy(_Proxy):
    """Stands at `path`, a UNIX socket that Postfix may connect to, before the milter's own at `target`."""

    def __init__(self, watch: Watch, path: Path, target: Path) -> None:
        listener = socket.socket(socket.AF_UNIX)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(100)
        super().__init__(watch, listener)
        self._target = target

    def _join(self, near: socket.socket) -> tuple[Wire, Wire]:
        far = socket.socket(socket.AF_UNIX)
        far.connect(str(self._target))
        return near, far

    def _forward(self, source: Wire, target: Wire, number: int, towards: bool) -> None:  # noqa: FBT001
        arrow, names = (">", _TO_MILTER) if towards else ("<", _FROM_MILTER)
        stream = source.makefile("rb")
        while True:
            head = _exactly(stream.read(4), 4)
            packet = head + _exactly(stream.read(length := struct.unpack(">I", head)[0]), length)
            step = arrow + names.get(packet[4:5], repr(packet[4:5]))
            if step == ">MAIL":
                self._messages[number] = _local_part(packet[5:].partition(b"\0")[0])
            self._pass(step, number, source, functools.partial(target.sendall, packet))


class ListenerProxy(_Proxy):
    """
    Stands at a port before the re-injection listener, and reads what goes through its TLS.

    `listener_pem` is the listener's certificate with its key, `client_pem` Gatepost's own: with both it
    can pose as either side. Only root can read them.
    """

    def __init__(self, watch: Watch, port: int, target: int, *, listener_pem: Path, client_pem: Path) -> None:
        super().__init__(watch, socket.create_server(("127.0.0.1", port), backlog=100))
        self._target = target
        self._near = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._near.load_cert_chain(listener_pem)
        self._far = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._far.check_hostname = False
        self._far.load_verify_locations(listener_pem)
        self._far.load_cert_chain(client_pem)
        self._last: dict[int, str] = {}
        self._names: dict[int, str] = {}

    def _join(self, near: socket.socket) -> tuple[Wire, Wire]:
        near.settimeout(30)
        far = self._far.wrap_socket(socket.create_connection(("127.0.0.1", self._target)))
        return SharedTls(self._near.wrap_socket(near, server_side=True)), SharedTls(far)

    def _forward(self, source: Wire, target: Wire, number: int, towards: bool) -> None:  # noqa: FBT001
        stream = source.makefile("rb")
        while line := stream.readline():
            send = functools.partial(target.sendall, line)
            if not towards:
                self._reply(line, source, send, number)
                continue
            verb = self._note(line, number)
            self._pass(self._step(">", number), number, source, send)
            if verb == "DATA":
                self._content(stream.readline, source, target, number)

    def _note(self, line: bytes, number: int) -> str:
        """Note which command this is, and whose message it belongs to."""
        self._last[number] = verb = line[:4].strip().upper().decode("ascii", "replace")
        if verb == "MAIL":
            self._messages[number] = _local_part(line)
            self._names[number] = "smtp" if self._messages[number] else "notice"
        elif verb == "RCPT" and self._names.get(number) == "notice":
            self._messages[number] = _local_part(line)
        return verb

    def _step(self, arrow: str, number: int) -> str:
        return f"{self._names.get(number, 'smtp')}{arrow}{self._last.get(number, 'CONNECT')}"

    def _content(self, readline: Callable[[], bytes], source: Wire, target: Wire, number: int) -> None:
        while (line := readline()) != b".\r\n":
            if not line:
                raise EOFError
            target.sendall(line)
        self._last[number] = "DOT"
        self._pass(self._step(">", number), number, source, functools.partial(target.sendall, line))

    def _reply(self, line: bytes, source: Wire, send: Callable[[], None], number: int) -> None:
        if line[3:4] == b"-":
            send()
        else:
            self._pass(self._step("<", number), number, source, send)


def _local_part(path: bytes) -> str:
    """Give the local part of the first address in angle brackets, empty for the null sender."""
    found = re.search(rb"<([^@>]*)", path)
    return found[1].decode("utf-8", "replace") if found else ""


def _exactly(data: bytes, count: int) -> bytes:
    if len(data) != count:
        raise EOFError
    return data


def _cut(connection: Wire) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
