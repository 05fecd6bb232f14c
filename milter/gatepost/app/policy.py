"""
The policy service, served.
"""

import gc
import sys
from collections.abc import Callable

from gatepost.app.store import open_database, unix_path
from gatepost.app.transport import assurance_of, purge_of
from gatepost.db.discoveries import SqlPolicies
from gatepost.settings import Settings
from gatepost.transport import policy, socketmap
from gatepost.transport.tlsrpt import PolicyReports
from gatepost.vault.expiry import Expiry
from gatepost.workers import notify

_MARGIN = 2.0  # seconds beside those of the look-up, for what leads to it and back
_SWITCH = 0.0005  # seconds: answers from memory wait no longer than this for a thread that reads the database


def serve_policy(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve Postfix's TLS questions until SIGTERM; calls `ready` once the socket is there."""
    sys.setswitchinterval(_SWITCH)
    database = open_database(settings)
    expiry = Expiry("look-ups", purge_of(database))
    tables = policy.tables(
        assurance_of(settings, database),
        PolicyReports(SqlPolicies(database)) if settings.policy.tlsrpt else None,
    )
    gc.collect()
    gc.freeze()  # what is there by now stays: the collector, which stops all answers, need not look at it again
    socketmap.serve(
        unix_path(settings.policy.socket),
        tables,
        ready,
        notify.Pulse(),
        settings.dns.timeout + _MARGIN,
    )
    notify.stopping()
    expiry.close()
