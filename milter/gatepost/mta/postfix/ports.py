"""
Free ports for the re-injection listeners.
"""

import hashlib
import re
import socket
import ssl
from collections.abc import Collection, Sequence

from gatepost.errors import ConfigError
from gatepost.mta.postfix.mastercf import Service

_LAST_PORT = 65535
_STEP = 10
_PATIENCE = 2.0  # seconds, for a handshake on this host


def named_ports(services: Sequence[Service]) -> set[str]:
    """List the ports and port names that inet services name."""
    return {re.split(r":(?=[^:\]]*$)", service.name)[-1] for service in services if service.type == "inet"}


def free(address: str, *, named: Collection[str], ours: Collection[str]) -> bool:
    """
    Tell whether a listener can be put at `HOST:PORT`.

    `named` are the ports of other services, `ours` the addresses where our listeners may already run.
    """
    host, port = _split(address)
    if str(port) in named:
        return False
    if address in ours:
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def shows(address: str, fingerprint: str) -> bool:
    """Tell whether a TLS server with this certificate (SHA-256, `AB:CD:...`) listens at `HOST:PORT`."""
    try:
        shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(_split(address), timeout=_PATIENCE))
    except (OSError, ValueError):
        return False
    return hashlib.sha256(shown).hexdigest().upper() == fingerprint.replace(":", "")


def next_free(address: str, *, named: Collection[str], ours: Collection[str]) -> str:
    """Give `address`, or the first free one at a higher port."""
    host, port = address.rsplit(":", 1)
    for candidate in range(int(port), _LAST_PORT, _STEP):
        found = f"{host}:{candidate}"
        if free(found, named=named, ours=ours):
            return found
    raise ConfigError(f"no port is free from {address} on: name one in gatepost.toml, [gateway] reinject")


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
