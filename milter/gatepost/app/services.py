"""
The services that a site runs, each until SIGTERM.
"""

import os
from pathlib import Path

from gatepost import log
from gatepost.app import open_database, quarantine_of, unix_path
from gatepost.app.gateway import gateway_of
from gatepost.app.keys import serve_keys
from gatepost.db.partners import SqlPartners
from gatepost.mta import adapter
from gatepost.settings import Settings
from gatepost.transport import policy, socketmap
from gatepost.vault.expiry import Expiry
from gatepost.workers import notify
from gatepost.workers.supervisor import Supervisor

_DRAIN_SECONDS = 20.0


def run_milter(settings: Settings) -> None:
    """Serve the milter until SIGTERM; messages under way are finished, or put off, before the process ends."""
    log.configure(settings.gateway.log_format)
    database = open_database(settings.database.url)
    gateway = gateway_of(settings, database)
    expiry = Expiry(quarantine_of(settings, database))
    os.umask(0o007)  # the mail server reaches the socket by the group of its directory
    cut_off = adapter.serve(
        socket=settings.gateway.socket,
        mail=gateway,
        spool_directory=settings.gateway.spool,
        max_seconds=settings.gateway.max_seconds,
        drain_seconds=_DRAIN_SECONDS,
        ready=notify.ready,
    )
    expiry.close()
    gateway.close()
    # libmilter's threads may still be waiting for idle mail servers: the interpreter must not tidy up under them.
    os._exit(1 if cut_off else 0)


def run_keys(settings: Settings) -> None:
    """Serve private-key operations until SIGTERM."""
    log.configure(settings.gateway.log_format)
    serve_keys(settings, notify.ready)


def run_policy(settings: Settings) -> None:
    """Serve Postfix's TLS questions until SIGTERM."""
    log.configure(settings.gateway.log_format)
    partners = SqlPartners(open_database(settings.database.url))
    socketmap.serve(unix_path(settings.policy.socket), policy.tables(partners), notify.ready)


def run_all(config: Path) -> None:
    """Run every service of the site under one supervisor until SIGTERM."""
    Supervisor(("keys", "policy", "milter"), config=config).run(notify.ready)
