"""A tap on a wire: it relays TCP connections to a port and keeps every byte that went through, both ways."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from lab.place import free_port


class Tap:
    """Listens on `port` and relays to `target`, both on loopback. Use it as a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self.target = 0
        self._lock = threading.Lock()
        self._seen = bytearray()
        self._listener: socket.socket | None = None

    @property
    def seen(self) -> bytes:
        """All that went through since the last `clear`."""
        with self._lock:
            return bytes(self._seen)

    def clear(self) -> None:
        """Forget what went through."""
        with self._lock:
            self._seen.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            for source, goal in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, goal), daemon=True).start()

    def _relay(self, source: socket.socket, goal: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                with self._lock:
                    self._seen += chunk
                goal.sendall(chunk)
        with contextlib.suppress(OSError):
            goal.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
