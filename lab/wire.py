"""
What goes over a wire, as anybody on the way could read it: the octets of every TCP connection in both directions.

A packet socket at the bridge's end of a machine's cable sees each frame once. Packets are put together in the
order in which they came.
"""

import contextlib
import socket
import struct
import threading
from collections import defaultdict
from types import TracebackType
from typing import Self

from lab.namespace import Namespace

_IPV4, _TCP = 0x0800, 6
_ALL_PROTOCOLS = 3  # ETH_P_ALL
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER = 64 << 20

Side = tuple[str, int]


class Wire:
    """Watches one interface of a namespace; use it as a context manager, or call `start` and `stop`."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._namespace = namespace
        self._interface = interface
        self._streams: defaultdict[tuple[Side, Side], bytearray] = defaultdict(bytearray)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._watcher: threading.Thread | None = None
        self._ended = False

    def start(self) -> Self:
        """Begin to watch."""
        self._socket = self._namespace.call(self._open)
        self._watcher = threading.Thread(target=self._watch, args=(self._socket,), name="wire", daemon=True)
        self._watcher.start()
        return self

    def _open(self) -> socket.socket:
        watching = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        watching.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        watching.bind((self._interface, _ALL_PROTOCOLS))
        watching.settimeout(0.2)
        return watching

    def stop(self) -> None:
        """End it."""
        self._ended = True
        if self._watcher is not None and self._socket is not None:
            self._watcher.join()
            self._socket.close()

    def clear(self) -> None:
        """Forget what was seen."""
        with self._lock:
            self._streams.clear()

    def readers(self, words: bytes) -> set[Side]:
        """
        Tell to whom these octets were sent so that anybody on the way could read them.

        Raises RuntimeError if a packet was missed, since then nobody knows.
        """
        self._check()
        with self._lock:
            return {to for (_, to), octets in self._streams.items() if words in octets}

    def connections(self, to: Side) -> int:
        """Count the TCP connections on which something was sent to this side."""
        with self._lock:
            return sum(1 for _, receiver in self._streams if receiver == to)

    def _check(self) -> None:
        assert self._socket is not None  # noqa: S101 - it was started
        _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if dropped:
            raise RuntimeError(f"{dropped} packets were not seen")

    def _watch(self, watching: socket.socket) -> None:
        while not self._ended:
            with contextlib.suppress(TimeoutError):  # nothing went by
                self._note(watching.recv(1 << 17))

    def _note(self, frame: bytes) -> None:
        if len(frame) < 54 or int.from_bytes(frame[12:14]) != _IPV4 or frame[23] != _TCP:  # noqa: PLR2004 - headers
            return
        tcp = 14 + (frame[14] & 0x0F) * 4
        end = 14 + int.from_bytes(frame[16:18])  # what follows fills the frame up (RFC 894)
        payload = frame[tcp + (frame[tcp + 12] >> 4) * 4 : end]
        if payload:
            ports = struct.unpack_from("!HH", frame, tcp)
            sides = [
                (socket.inet_ntoa(frame[at : at + 4]), port) for at, port in zip((26, 30), ports, strict=True)
            ]
            with self._lock:
                self._streams[sides[0], sides[1]] += payload

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
