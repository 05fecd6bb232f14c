"""
A partner: an address, a domain, or `.domain` with its subdomains, and how mail to and from it is protected.

The values of the partner table's columns, and the port that looks a partner up.
"""

from dataclasses import dataclass
from typing import Protocol

from gatepost.message.address import Address, parent_domains


@dataclass(frozen=True, slots=True)
class Partner:
    """
    One row of the partner table, as the admin wrote it.

    `tls` is empty, `verify`, `dane`, `mta-sts` or `fingerprint:SHA256`; `ladder` names treatments, best first;
    `tls_ca` is a path; `nexthop` a host, `[host]` or `[host]:port`. `sign` is empty, `never`, `protected` or
    `always`; `cipher_floor` empty or the weakest cipher that S/MIME may use.
    """

    pattern: str
    demand: str = "none"
    ladder: tuple[str, ...] = ()
    tls: str = ""
    tls_name: str = ""
    tls_ca: str = ""
    nexthop: str = ""
    inbound: str = "none"
    inbound_action: str = "flag"
    note: str = ""
    sign: str = ""
    cipher_floor: str = ""


def patterns(address: Address) -> tuple[str, ...]:
    """
    Name the patterns that an address may be found under, best first.

    Exact address, in lower case, its domain, then `.parent` for the domain itself and each parent.
    """
    exact = address.text
    domains = (address.domain, *parent_domains(address.domain))
    found = (exact, exact.lower(), address.domain, *(f".{domain}" for domain in domains))
    return tuple(dict.fromkeys(found))


class Partners(Protocol):
    """Looks partners up. Thread-safe; an edit of the table is seen within 5 s; raises StorageError."""

    def find(self, address: Address) -> Partner | None:
        """Give the partner row that matches best, or None."""

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        """Give every row whose TLS policy applies to this next hop: its own, or rows that name it as nexthop."""
