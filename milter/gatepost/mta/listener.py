"""
The milter's socket: each connection becomes a conversation.
"""

import socket
import stat
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatepost.errors import ConfigError, cause
from gatepost.log import logger
from gatepost.mta.conversation import Conversation
from gatepost.mta.lead import Lead

_BACKLOG = 128
_PAUSE = 1.0  # seconds after a connection that this host has no descriptor for
# Python's own timeouts cost a poll at each writing.
_PATIENCE = struct.pack("ll", 7200, 0)  # seconds, as libmilter has


class Listener:
    """Listens at `unix:/path` or `inet:port@host`."""

    def __init__(self, name: str) -> None:
        """Bind the socket; raises ConfigError where it cannot listen."""
        kind, _, place = name.partition(":")
        self._closed = threading.Event()
        self._path = Path(place) if kind in {"unix", "local"} else None
        try:
            self._socket = _unix(self._path) if self._path else _internet(kind, place)
            self._socket.listen(_BACKLOG)
        except (OSError, ValueError) as error:
            raise ConfigError(f"gateway.socket: the milter cannot listen at {name}: {error}") from error

    def serve(self, session: Callable[[], Any], lead: Lead) -> None:
        """
        Take connections, each with a session of its own, until the socket is closed; `lead` serves them.

        One that cannot be taken, for want of a descriptor, is told; the next one may be.
        """
        while not self._closed.is_set():
            try:
                self._take(session, lead)
            except OSError as error:
                if not self._closed.is_set():
                    logger.error("a connection could not be taken", cause=cause(error))
                    self._closed.wait(_PAUSE)

    def _take(self, session: Callable[[], Any], lead: Lead) -> None:
        connection, _ = self._socket.accept()
        try:
            _prepare(connection)
            lead.take(Conversation(connection, session(), lead))
        except OSError:
            connection.close()  # the mail server puts the mail off
            raise

    def close(self) -> None:
        """Take no more connections; those that are open go on."""
        self._closed.set()
        if self._path:
            self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which ends the wait for the next one
        self._socket.close()


def _unix(path: Path) -> socket.socket:
    """Bind a path; what an earlier milter left there goes."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def _internet(kind: str, place: str) -> socket.socket:
    port, _, host = place.partition("@")
    family = socket.AF_INET6 if kind == "inet6" else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    return listener


def _prepare(connection: socket.socket) -> None:
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
