"""
Who tells which next hops can take assured TLS: the policy service to the milter, own look-ups to commands.
"""

from gatepost.app.store import unix_path
from gatepost.db.engine import Database
from gatepost.settings import Settings
from gatepost.transport.asked_here import AskedHere
from gatepost.transport.socketmap_client import PolicyClient

_MARGIN = 1.0  # seconds: look-ups have their own deadline, and it counts


def capabilities_of(settings: Settings) -> PolicyClient:
    """Give the way to ask which next hops can take assured TLS; an answer takes `dns.timeout` at most."""
    return PolicyClient(unix_path(settings.policy.socket), settings.dns.timeout)


def own_capabilities_of(settings: Settings, database: Database) -> AskedHere:
    """Give look-ups within this process, in the cache that all hosts share or live; no service needs to run."""
    from gatepost.app.transport import assurance_of  # noqa: PLC0415 - the milter does without DNS

    return AskedHere(lambda: assurance_of(settings, database).capability, settings.dns.timeout + _MARGIN)
