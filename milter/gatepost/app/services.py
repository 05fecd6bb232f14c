"""
The services that a site runs, in the foreground, each until SIGTERM.

A service's modules are loaded when it starts: the supervisor itself stays small.
"""

from pathlib import Path

from gatepost import log
from gatepost.settings import Settings
from gatepost.workers import memory, notify
from gatepost.workers.supervisor import Supervisor


def run_milter(settings: Settings) -> None:
    """Run the milter; messages under way are finished, or put off, before the process ends."""
    from gatepost.app.milter import serve_milter  # noqa: PLC0415 - this service alone needs it

    _prepare(settings)
    serve_milter(settings, notify.ready)


def run_keys(settings: Settings) -> None:
    """Run the key worker, the one process with private keys."""
    from gatepost.app.keys import serve_keys  # noqa: PLC0415 - this service alone needs it

    _prepare(settings)
    serve_keys(settings, notify.ready)


def run_policy(settings: Settings) -> None:
    """Run the service that answers Postfix's TLS questions."""
    from gatepost.app.policy import serve_policy  # noqa: PLC0415 - this service alone needs it

    _prepare(settings)
    serve_policy(settings, notify.ready)


def run_deliveries(settings: Settings) -> None:
    """Run the service that follows the mail server's log."""
    from gatepost.app.deliveries import serve_deliveries  # noqa: PLC0415 - this service alone needs it

    _prepare(settings)
    serve_deliveries(settings, notify.ready)


def run_all(config: Path, settings: Settings) -> None:
    """Run every service of the site under one supervisor."""
    log.configure(settings.gateway.log_format)
    following = ("deliveries",) if settings.postfix.log else ()
    Supervisor(("keys", "policy", *following, "milter"), config=config).run(notify.ready)


def _prepare(settings: Settings) -> None:
    log.configure(settings.gateway.log_format)
    memory.return_large_blocks()
