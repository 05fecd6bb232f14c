"""
Frames between the key worker and its clients: a JSON head, a binary payload, both with their length, and files.

On the wire: `GPK1`, length of the head (4 octets, big-endian), length of the payload (4 octets), head, payload.
Lengths are checked before anything is read, so that neither side can make the other fill its memory. Messages
travel as open files, handed over with the first octets (unix(7), SCM_RIGHTS), and are copied by nobody.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatepost.errors import WorkerError

MAX_HEAD = 64 << 10
MAX_PAYLOAD = 8 << 20  # octets: wrapped keys, statements of stamps
MAX_FILES = 2

_PREFIX = struct.Struct(">4sII")
_MAGIC = b"GPK1"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as received; its files are open descriptors, which whoever has the frame closes."""

    head: dict[str, Any]
    payload: bytes = b""
    files: tuple[int, ...] = ()

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            os.close(file)


def send(
    connection: socket.socket, head: dict[str, object], payload: bytes = b"", files: Sequence[int] = ()
) -> None:
    """Send one frame; the files stay open here. Raises WorkerError where it is too large, OSError."""
    text = json.dumps(head).encode("ascii")
    if len(text) > MAX_HEAD or len(payload) > MAX_PAYLOAD:
        raise WorkerError(f"a frame of {len(payload)} octets is larger than the key worker takes")
    data = _PREFIX.pack(_MAGIC, len(text), len(payload)) + text + payload
    sent = socket.send_fds(connection, [data], list(files)) if files else 0
    if sent < len(data):
        connection.sendall(data[sent:])


def receive(connection: socket.socket, *, deadline: float | None = None) -> Frame | None:
    """
    Read one frame; None where the other side has closed between frames.

    `deadline` is a point of `time.monotonic`. Raises WorkerError for anything that is no frame, OSError.
    """
    _limit(connection, deadline)
    prefix, received, flags, _ = socket.recv_fds(
        connection, _PREFIX.size, MAX_FILES, socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL
    )
    files = tuple(received)
    try:
        if not prefix:
            return None
        if flags & socket.MSG_CTRUNC:
            raise WorkerError("more files came over the key worker's socket than belong to a frame")
        head, payload = _read_rest(connection, prefix, deadline)
        frame, files = Frame(head, payload, files), ()
        return frame
    finally:
        for file in files:
            os.close(file)


def _read_rest(connection: socket.socket, prefix: bytes, deadline: float | None) -> tuple[dict[str, Any], bytes]:
    if len(prefix) < _PREFIX.size:
        raise WorkerError("the connection to the key worker broke inside a frame")
    magic, head_size, payload_size = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head_size > MAX_HEAD or payload_size > MAX_PAYLOAD:
        raise WorkerError("a frame that is none of ours, or too large, came over the key worker's socket")
    head = _read(connection, head_size, deadline)
    payload = _read(connection, payload_size, deadline)
    if len(head) < head_size or len(payload) < payload_size:
        raise WorkerError("the connection to the key worker broke inside a frame")
    try:
        value = json.loads(head)
    except ValueError as error:
        raise WorkerError("the head of a key worker's frame is not JSON") from error
    if not isinstance(value, dict):
        raise WorkerError("the head of a key worker's frame is not a JSON object")
    return value, payload


def _read(connection: socket.socket, size: int, deadline: float | None) -> bytes:
    """Read so many octets; fewer only where the other side has closed."""
    pieces = []
    while size:
        _limit(connection, deadline)
        piece = connection.recv(size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _limit(connection: socket.socket, deadline: float | None) -> None:
    if deadline is not None:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
