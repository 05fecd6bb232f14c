"""
What Postfix must know of Gatepost: where it listens, where it hands mail back, with which certificates.

Sockets are written as in gatepost.toml: `unix:/path` or `inet:PORT@HOST`.
"""

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.message.direction import Site

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_REMEDY = (
    "restore it from a backup, or copy the file of this name from the secrets of a new site (`gatepost init DIR`),"
    " then run `gatepost setup postfix --apply`"
)


@dataclass(frozen=True, slots=True)
class Behind:
    """The listeners behind alias expansion: for mail from either side, and where our own notices enter."""

    inside: str
    outside: str
    notices: str


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Gatepost as Postfix sees it.

    `reinject` and `reinject_tls` are `HOST:PORT` on loopback; `listener_pem` holds the listeners' key and
    certificate, `client_pem` the only client certificate that they let in. `exempt` names listeners that stay
    without Gatepost. `follows_aliases` tells that copies come back with their aliases followed. `site` tells whose
    clients are inside; `behind` is given where Gatepost stands behind alias expansion.
    """

    milter_socket: str
    policy_socket: str
    reinject: str
    reinject_tls: str
    listener_pem: Path
    client_pem: Path
    exempt: tuple[str, ...] = ()
    follows_aliases: bool = True
    site: Site = field(default_factory=lambda: Site(frozenset()))
    behind: Behind | None = None

    @property
    def listeners(self) -> Mapping[str, str]:
        """Give our listeners' addresses by their keys in gatepost.toml, section gateway."""
        ours = {"reinject": self.reinject, "reinject_tls": self.reinject_tls}
        if self.behind is None:
            return ours
        return ours | {
            "behind_inside": self.behind.inside,
            "behind_outside": self.behind.outside,
            "behind_notices": self.behind.notices,
        }

    def listening(self, addresses: Mapping[str, str]) -> "Gate":
        """Give the gate with other addresses of its listeners, by the same keys."""
        behind = self.behind and Behind(
            addresses["behind_inside"], addresses["behind_outside"], addresses["behind_notices"]
        )
        return replace(self, reinject=addresses["reinject"], reinject_tls=addresses["reinject_tls"], behind=behind)

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
