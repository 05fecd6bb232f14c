"""DNS zones that a test makes and signs: right, unsigned below a signed parent, or bogus."""

from typing import Literal

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdtypes.ANY.DNSKEY
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from lab.certificate import ServerCertificate

State = Literal["secure", "insecure", "bogus"]
TTL = 300
_LIFETIME = 30 * 86_400


class Zone:
    """
    One zone; `secure` is signed, `insecure` is not, `bogus` is signed by another key than its parent vouches for.

    Names are relative to the zone, `@` is the zone itself; in record data a name ends with a dot.
    """

    def __init__(self, name: str, state: State = "secure") -> None:
        self.name = name
        self.state = state
        self.serial = 0
        self._records: dict[tuple[str, str], tuple[str, ...]] = {}
        self._vouched_for = ec.generate_private_key(ec.SECP256R1())
        self._signs = ec.generate_private_key(ec.SECP256R1()) if state == "bogus" else self._vouched_for

    def put(self, name: str, kind: str, *values: str) -> None:
        """Let a name have these records of one type, and no others of it; without values it has none."""
        if values:
            self._records[name, kind] = values
        else:
            self._records.pop((name, kind), None)

    def put_mail_host(self, name: str, address: str, certificate: ServerCertificate | None = None) -> None:
        """Let a name be a host, whose certificate, if one is given, a TLSA record names."""
        self.put(name, "A", address)
        self.put(f"_25._tcp.{name}", "TLSA", *([f"3 1 1 {certificate.tlsa}"] if certificate else []))

    def put_child(self, child: "Zone") -> None:
        """Delegate to a zone below; only one that is not insecure is vouched for."""
        name = child.name.removesuffix(f".{self.name}")
        self.put(name, "NS", f"ns.{self.name}.")
        self.put(name, "DS", *([child.ds] if child.state != "insecure" else []))

    @property
    def ds(self) -> str:
        """The data of the record DS, which vouches for the zone's key."""
        key = _dnskey(self._vouched_for)
        return str(dns.dnssec.make_ds(dns.name.from_text(self.name), key, dns.dnssectypes.DSDigest.SHA256))

    def text(self) -> str:
        """Give the zone as its file, signed anew; each time with a serial of its own."""
        self.serial += 1
        soa = f"ns.{self.name}. admin.{self.name}. {self.serial} 3600 600 86400 {TTL}"
        lines = [f"$ORIGIN {self.name}.", f"@ {TTL} IN SOA {soa}", f"@ {TTL} IN NS ns.{self.name}."]
        for (name, kind), values in self._records.items():
            lines += [f"{name} {TTL} IN {kind} {value}" for value in values]
        zone = dns.zone.from_text("\n".join(lines) + "\n", origin=self.name, relativize=False)
        if self.state != "insecure":
            keys = [(self._signs, _dnskey(self._signs))]
            dns.dnssec.sign_zone(zone, keys=keys, lifetime=_LIFETIME)  # type: ignore[arg-type] # an EC key is one
        return zone.to_text(relativize=False)


def _dnskey(key: ec.EllipticCurvePrivateKey) -> dns.rdtypes.ANY.DNSKEY.DNSKEY:
    return dns.dnssec.make_dnskey(key.public_key(), dns.dnssectypes.Algorithm.ECDSAP256SHA256, flags=257)
