"""
Readiness, as systemd understands it: one datagram to $NOTIFY_SOCKET, and the line `ready` on stderr.

sd_notify(3).
"""

import os
import socket
import sys

SUPERVISED = "GATEPOST_SUPERVISED"  # set for a service that the supervisor started: it alone says `ready`


def ready() -> None:
    """Tell the service manager and whoever reads stderr that the service takes work."""
    notify("READY=1")
    if SUPERVISED not in os.environ:
        sys.stderr.write("ready\n")
        sys.stderr.flush()


def notify(state: str) -> None:
    """Send one state to the service manager; without one nothing happens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode("ascii"), address)
