"""
What DNS says, as values, and the port that asks it.

`secure` is true only where a validating resolver on loopback vouched for every record on the way, CNAMEs included
(the AD bit, asked for with DO; RFC 4035 section 3.2.3). That there is no record is an answer; that no trustworthy
answer came (SERVFAIL, which a bogus chain gives too, no answer in time, nonsense) is LookUpFailed, never "none".
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

from gatepost.errors import GatepostError

IpAddress = IPv4Address | IPv6Address
Value = TypeVar("Value")


class LookUpFailed(GatepostError):  # noqa: N818 - a look-up fails; it is no error of anybody here
    """DNS or the web gave no answer that can be trusted; a later one may be."""

    temporary = True


@dataclass(frozen=True, slots=True)
class Records(Generic[Value]):
    """
    The records of one type at one name; empty `values`: there are none.

    `name` is where CNAMEs led, in lower case and without the final dot; `exists` is false for NXDOMAIN; `seconds`
    is how long the answer may be kept, a negative one too.
    """

    name: str
    values: tuple[Value, ...]
    secure: bool
    seconds: int
    exists: bool = True


@dataclass(frozen=True, slots=True)
class MailHost:
    """One MX record: `name` in lower case without the final dot; empty for the null MX (RFC 7505)."""

    preference: int
    name: str


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698)."""

    usage: int
    selector: int
    matching: int
    data: bytes


class Resolver(Protocol):
    """Asks DNS; names are A-labels without the final dot. Raises LookUpFailed."""

    async def mx(self, domain: str) -> Records[MailHost]:
        """Give the MX records of a domain, best preference first."""

    async def addresses(self, host: str) -> Records[IpAddress]:
        """Give the A and AAAA records of a host; secure only if both answers were."""

    async def tlsa(self, name: str) -> Records[Tlsa]:
        """Give the TLSA records at a name such as `_25._tcp.HOST`."""

    async def txt(self, name: str) -> Records[bytes]:
        """Give the TXT records at a name, the strings of each joined."""

    async def alias(self, name: str) -> Records[str]:
        """Give where the CNAME at this very name points, in lower case; none: the name is no alias."""
