"""
The milter as a server: from its socket to its end.
"""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gatepost.gateway.metrics import Metrics
from gatepost.mta.adapter import Mail, Session
from gatepost.mta.lead import Lead
from gatepost.mta.listener import Listener
from gatepost.mta.sessions import Sessions

_LAST_REPLY_SECONDS = 0.5  # in which the last verdicts are written


def serve(
    *,
    socket: str,
    mail: Mail,
    sessions: Sessions,
    metrics: Metrics,
    spool_directory: Path,
    max_seconds: float,
    drain_seconds: float,
    ready: Callable[[], None],
    stopping: Callable[[], None],
) -> int:
    """
    Serve the milter socket (`unix:/path` or `inet:port@host`) until SIGTERM; give how many messages were cut off.

    The main thread gets the signal, closes the socket at once, and waits for the messages under way. Raises
    ConfigError where it cannot listen.
    """

    def session() -> Session:
        return Session(
            mail=mail, sessions=sessions, metrics=metrics, spool_directory=spool_directory, max_seconds=max_seconds
        )

    listener = Listener(socket)
    lead = Lead()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=listener.serve, args=(session, lead), daemon=True).start()
    ready()
    ended.wait()
    stopping()
    listener.close()
    was_busy = sessions.busy
    left = sessions.drain(drain_seconds)
    if was_busy:
        time.sleep(_LAST_REPLY_SECONDS)
    lead.close()
    return left
