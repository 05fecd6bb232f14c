"""
What Postfix must know of Gatepost: where it listens, where it hands mail back, with which certificates.

Sockets are written as in gatepost.toml: `unix:/path` or `inet:PORT@HOST`.
"""

import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import ConfigError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_REMEDY = (
    "restore it from a backup, or copy the file of this name from the secrets of a new site (`gatepost init DIR`),"
    " then run `gatepost setup postfix --apply`"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Gatepost as Postfix sees it.

    `reinject` and `reinject_tls` are `HOST:PORT` on loopback; `listener_pem` holds the listeners' key and
    certificate, `client_pem` the only client certificate that they let in. `exempt` names listeners that stay
    without Gatepost. `follows_aliases` tells that copies come back with their aliases followed.
    """

    milter_socket: str
    policy_socket: str
    reinject: str
    reinject_tls: str
    listener_pem: Path
    client_pem: Path
    exempt: tuple[str, ...] = ()
    follows_aliases: bool = True

    def milter_path(self) -> Path | None:
        """Give the path of the milter's UNIX socket, None for TCP."""
        kind, _, rest = self.milter_socket.partition(":")
        return Path(rest) if kind in {"unix", "local"} else None


def fingerprint(pem: Path) -> str:
    """Give the SHA-256 fingerprint of the first certificate in a PEM file as Postfix writes it, `AB:CD:...`."""
    try:
        found = _CERTIFICATE.search(pem.read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise ConfigError(f"{pem}: cannot be read ({error.strerror}): {_REMEDY}") from None
    if found is None:
        raise ConfigError(f"{pem}: holds no certificate: {_REMEDY}")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).digest().hex(":").upper()
