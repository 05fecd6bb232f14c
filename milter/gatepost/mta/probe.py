"""
Probes: does anybody answer at a milter's socket, and is a session served there?
"""

import socket
import struct
from contextlib import suppress

_VERSION = 6
_EVERYTHING = 0x1FFFFF
_NEGOTIATION = struct.pack(">IcIII", 13, b"O", _VERSION, 0x1FF, _EVERYTHING)


def answers(name: str) -> bool:
    """Tell whether a milter's socket, `unix:/path` or `inet:port@host`, takes connections."""
    with suppress(OSError):
        _connected(name, 1.0).close()
        return True
    return False


def serves(name: str, seconds: float) -> bool:
    """
    Tell whether a session is served: what a mail server says first is answered, by a reply or by hanging up.

    Hanging up is what a milter does that has sessions enough.
    """
    with suppress(OSError), _connected(name, seconds) as probe:
        probe.sendall(_NEGOTIATION)
        probe.recv(1)
        return True
    return False


def _connected(name: str, seconds: float) -> socket.socket:
    kind, _, place = name.partition(":")
    if kind != "unix":
        port, _, host = place.partition("@")
        return socket.create_connection((host, int(port)), timeout=seconds)
    probe = socket.socket(socket.AF_UNIX)
    probe.settimeout(seconds)
    try:
        probe.connect(place)
    except OSError:
        probe.close()
        raise
    return probe
