"""
A probe: does anybody answer at a socket?
"""

import socket


def answers(name: str) -> bool:
    """Tell whether a milter's socket, `unix:/path` or `inet:port@host`, takes connections."""
    kind, _, place = name.partition(":")
    try:
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(place)
        else:
            port, _, host = place.partition("@")
            socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
