"""
Frames between the key worker and its clients: a JSON head and a binary payload, both with their length.

On the wire: `GPK1`, length of the head (4 octets, big-endian), length of the payload (4 octets), head, payload.
Lengths are checked before anything is read, so that neither side can make the other fill its memory.
"""

import json
import socket
import struct
import time
from typing import Any

from gatepost.errors import WorkerError

MAX_HEAD = 64 << 10
MAX_PAYLOAD = 130 << 20  # octets; a decrypted message may be twice what was encrypted

_PREFIX = struct.Struct(">4sII")
_MAGIC = b"GPK1"
_CHUNK = 1 << 20


def send(connection: socket.socket, head: dict[str, object], payload: bytes = b"") -> None:
    """Send one frame; raises WorkerError where it is too large, OSError."""
    text = json.dumps(head).encode("ascii")
    if len(text) > MAX_HEAD or len(payload) > MAX_PAYLOAD:
        raise WorkerError(f"a frame of {len(payload)} octets is larger than the key worker takes")
    connection.sendall(_PREFIX.pack(_MAGIC, len(text), len(payload)) + text)
    if payload:
        connection.sendall(payload)


def receive(
    connection: socket.socket, *, limit: int = MAX_PAYLOAD, deadline: float | None = None
) -> tuple[dict[str, Any], bytes] | None:
    """
    Read one frame; None where the other side has closed between frames.

    `deadline` is a point of `time.monotonic`. Raises WorkerError for anything that is no frame, OSError.
    """
    prefix = _read(connection, _PREFIX.size, deadline)
    if not prefix:
        return None
    if len(prefix) < _PREFIX.size:
        raise WorkerError("the connection to the key worker broke inside a frame")
    magic, head_size, payload_size = _PREFIX.unpack(prefix)
    if magic != _MAGIC or head_size > MAX_HEAD or payload_size > limit:
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
        if deadline is not None:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = connection.recv(min(size, _CHUNK))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
