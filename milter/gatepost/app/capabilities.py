"""
The milter's way to the policy service.
"""

from gatepost.app.store import unix_path
from gatepost.settings import Settings
from gatepost.transport.socketmap_client import PolicyClient


def capabilities_of(settings: Settings) -> PolicyClient:
    """Give the way to ask which next hops can take assured TLS; an answer takes `dns.timeout` at most."""
    return PolicyClient(unix_path(settings.policy.socket), settings.dns.timeout)
