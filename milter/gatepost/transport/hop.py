"""
A next hop as Postfix names it: `domain`, `[host]`, either with `:port`.

A domain is looked up by MX; a host in brackets is asked itself, by name or by address. Names are A-labels in lower
case without the final dot.
"""

import ipaddress
import re
from dataclasses import dataclass

SMTP_PORT = 25
_MAX_PORT = 65535
_MAX_NAME = 253  # RFC 1035 section 3.1, as text without the final dot
_SPELLED = re.compile(r"(?:\[(?P<host>[^\[\]\s]+)\]|(?P<domain>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_IPV6 = "ipv6:"


@dataclass(frozen=True, slots=True)
class Hop:
    """One next hop, read; `direct` tells that it stood in brackets and has no MX look-up."""

    name: str
    direct: bool = False
    port: int = SMTP_PORT

    @property
    def is_address(self) -> bool:
        """Whether it is an IP address: nothing is published about those."""
        return self.direct and _is_address(self.name)


def read(text: str) -> Hop:
    """Read a next hop; raises ValueError for what is none."""
    found = _SPELLED.fullmatch(text.lower())
    if not found:
        raise ValueError(f"{text!r} is not a next hop: give domain, [host] or either with :port")
    port = int(found["port"] or SMTP_PORT)
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"{text!r} names no port; allowed: 1 to {_MAX_PORT}")
    name = (found["host"] or found["domain"]).removesuffix(".")
    if found["host"] and _is_address(name):
        return Hop(name.removeprefix(_IPV6), direct=True, port=port)
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} holds no domain name; names are A-labels (xn--)")
    return Hop(name, direct=found["host"] is not None, port=port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix(_IPV6))
    except ValueError:
        return False
    return True
