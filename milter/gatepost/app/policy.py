"""
The policy service, served.
"""

from collections.abc import Callable

from gatepost.app.store import open_database, unix_path
from gatepost.app.transport import assurance_of, purge_of
from gatepost.settings import Settings
from gatepost.transport import policy, socketmap
from gatepost.vault.expiry import Expiry
from gatepost.workers import notify

_MARGIN = 2.0  # seconds beside those of the look-up, for what leads to it and back


def serve_policy(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve Postfix's TLS questions until SIGTERM; calls `ready` once the socket is there."""
    database = open_database(settings)
    expiry = Expiry("look-ups", purge_of(database))
    socketmap.serve(
        unix_path(settings.policy.socket),
        policy.tables(assurance_of(settings, database)),
        ready,
        notify.Pulse(),
        settings.dns.timeout + _MARGIN,
    )
    notify.stopping()
    expiry.close()
