"""
A TLS connection that one thread may read while another writes.

OpenSSL does not allow that for one connection, and Python before 3.13 does not prevent it: records then break now
and then. Here each call into OpenSSL is made under a lock and never waits; waiting is done outside of it.
"""

import io
import select
import socket
import ssl
import threading


class SharedTls:
    """Wraps a connection whose handshake is done; has what a proxy uses of a socket."""

    def __init__(self, wrapped: ssl.SSLSocket) -> None:
        wrapped.setblocking(False)
        self._wrapped = wrapped
        self._lock = threading.Lock()
        self._cut = False

    def receive_into(self, buffer: "memoryview[int]") -> int:
        """Read what is there, or wait for it; 0 at the end."""
        while not self._cut:
            try:
                with self._lock:
                    return self._wrapped.recv_into(buffer)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
        return 0

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        left = memoryview(data)
        while left:
            if self._cut:
                raise ConnectionError("the connection was cut")
            try:
                with self._lock:
                    left = left[self._wrapped.send(left) :]
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give it as a file to be read."""
        return io.BufferedReader(_Reading(self))

    def shutdown(self, how: int) -> None:
        """Cut the connection off, without TLS's own farewell."""
        self._cut = True
        socket.socket.shutdown(self._wrapped, how)

    def close(self) -> None:
        """Give the descriptor back."""
        self._cut = True
        self._wrapped.close()

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._wrapped, event)
        poll.poll(1000)


class _Reading(io.RawIOBase):
    """The reading side as Python's buffered files want it; closing it closes nothing."""

    def __init__(self, connection: SharedTls) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override] # io asks with memoryviews only
        return self._connection.receive_into(buffer)
