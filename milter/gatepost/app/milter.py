"""
The milter, served.
"""

import gc
import os
import resource
from collections.abc import Callable

from gatepost.app.capabilities import capabilities_of
from gatepost.app.deferral import deferrals_of
from gatepost.app.expiring import tell_what_expires
from gatepost.app.gateway import journal_of, wired_of
from gatepost.app.monitoring import monitor_of
from gatepost.app.store import open_database, quarantine_of
from gatepost.errors import ConfigError, WorkerError
from gatepost.gateway.gateway import Gateway
from gatepost.mta import probe, server
from gatepost.mta.sessions import Sessions
from gatepost.settings import Settings
from gatepost.vault.expiry import Expiry
from gatepost.workers import notify
from gatepost.workers.turns import Turns

_DRAIN_SECONDS = 20.0
_PROOF_SECONDS = 10.0
_DESCRIPTORS = 4  # of a session: its own, two files, and a connection to where its copies go
_DESCRIPTORS_BESIDE = 200


def serve_milter(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve the milter until SIGTERM; messages under way are finished, or put off, before the process ends."""
    _allow_descriptors(settings.gateway.max_sessions)
    database = open_database(settings)
    sessions = Sessions(settings.gateway.max_sessions)
    monitor = monitor_of(settings, database, sessions)
    wired = wired_of(settings, database, capabilities_of(settings), monitor=monitor)
    gateway = wired.gateway
    journal = journal_of(settings, database)
    journal.free()
    turns: tuple[Expiry | Turns, ...] = (
        Expiry("held copies", quarantine_of(settings, database).purge),
        Expiry("journal entries", journal.purge),
        *deferrals_of(settings, database),
        *tell_what_expires(settings, database),
    )
    gc.collect()
    gc.freeze()  # what is there by now stays: the collector need not look at it again and again
    os.umask(0o007)  # the mail server reaches the socket by the group of its directory
    monitor.serve()
    cut_off = server.serve(
        socket=settings.gateway.socket,
        mail=wired.service,
        sessions=sessions,
        metrics=monitor.metrics,
        spool_directory=settings.gateway.spool,
        max_seconds=settings.gateway.max_seconds,
        drain_seconds=_DRAIN_SECONDS,
        ready=lambda: _begin(settings, gateway, ready),
        stopping=notify.stopping,
    )
    monitor.close()
    for turn in turns:
        turn.close()
    gateway.close()
    # Conversations may still be waiting for idle mail servers: the interpreter must not tidy up under them.
    os._exit(1 if cut_off else 0)


def _allow_descriptors(sessions: int) -> None:
    """Raise the limit of open files to what sessions may need; raises ConfigError where the host forbids it."""
    needed = sessions * _DESCRIPTORS + _DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ConfigError(
            f"gateway.max_sessions = {sessions} may need {needed} open files, and this host allows {hard}: "
            "raise LimitNOFILE (ulimit -n), or take fewer sessions"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _begin(settings: Settings, gateway: Gateway, ready: Callable[[], None]) -> None:
    """Tell that the milter takes mail, and from then on that it lives: a session is served, rows are written."""

    def prove() -> None:
        if not probe.serves(settings.gateway.socket, _PROOF_SECONDS):
            raise WorkerError(f"the milter does not answer at {settings.gateway.socket}")
        gateway.prove_alive()

    ready()
    notify.Watchdog(prove)
