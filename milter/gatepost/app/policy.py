"""
The policy service, served.
"""

from collections.abc import Callable

from gatepost.app.store import open_database, unix_path
from gatepost.db.partners import SqlPartners
from gatepost.settings import Settings
from gatepost.transport import policy, socketmap
from gatepost.workers import notify

_MARGIN = 2.0  # seconds beside those of the look-up, for what leads to it and back


def serve_policy(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve Postfix's TLS questions until SIGTERM; calls `ready` once the socket is there."""
    partners = SqlPartners(open_database(settings))
    socketmap.serve(
        unix_path(settings.policy.socket),
        policy.tables(partners),
        ready,
        notify.Pulse(),
        settings.dns.timeout + _MARGIN,
    )
    notify.stopping()
