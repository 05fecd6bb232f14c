"""
A next hop as Postfix names it: `domain`, `[host]`, either with `:port`.

A domain is looked up by MX, with a port too; a host in brackets is asked itself, by name or by address. Names are
A-labels in lower case without the final dot.
"""

import ipaddress
import re
from dataclasses import dataclass

from gatepost.errors import AddressError
from gatepost.message.address import normal_domain

SMTP_PORT = 25
_MAX_PORT = 65535
_MAX_NAME = 253  # RFC 1035 section 3.1, as text without the final dot
_SPELLED = re.compile(r"(?:\[(?P<host>[^\[\]\s]+)\]|(?P<domain>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"(?=[0-9.]*[a-z_-])(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
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
        return self.direct and is_address(self.name)


def read(text: str) -> Hop:
    """Read a next hop; raises ValueError for what is none."""
    found = _SPELLED.fullmatch(text.lower())
    if not found:
        raise ValueError(f"{text!r} is not a next hop: give domain, [host] or either with :port")
    port = int(found["port"] or SMTP_PORT)
    if not 0 < port <= _MAX_PORT:
        raise ValueError(f"{text!r} names no port; allowed: 1 to {_MAX_PORT}")
    name = found["host"] or found["domain"]
    if found["host"] and is_address(name):
        return Hop(name.removeprefix(_IPV6), direct=True, port=port)
    try:
        name = normal_domain(name)
    except AddressError as error:
        raise ValueError(str(error)) from error
    if not is_host(name):
        raise ValueError(f"{text!r} holds no domain name")
    return Hop(name, direct=found["host"] is not None, port=port)


def normal(text: str) -> str:
    """Spell a next hop as tables and caches are asked for it, its port as given; raises ValueError."""
    hop, found = read(text), _SPELLED.fullmatch(text.lower())
    if found is None or hop.is_address:
        return text.lower()
    host = f"[{hop.name}]" if hop.direct else hop.name
    return f"{host}:{found['port']}" if found["port"] else host


def is_host(name: str) -> bool:
    """Tell whether a name in lower-case A-labels can be a host's, as Postfix sees it: `_` may stand in it."""
    return len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address, spelled as in a next hop."""
    try:
        ipaddress.ip_address(text.removeprefix(_IPV6))
    except ValueError:
        return False
    return True
