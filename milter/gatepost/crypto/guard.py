"""
The guard: whether mail may be encrypted to a certificate, whatever the library behind would do.

Libraries differ in what they refuse: some encrypt to expired or revoked certificates without a word. Both
engines describe a certificate by its components and ask here, so that both refuse the same, in the same words.
Sizes follow NIST SP 800-57 part 1 and RFC 9580 section 9.1 and 12.4 (DSA and ElGamal are not for new messages).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gatepost.crypto.certificate import Certificate
from gatepost.errors import AddressError, CryptoError
from gatepost.message.address import normal_domain

MAX_CERTIFICATE = 256 << 10  # octets; third-party signatures by the thousand have been used to choke readers
MAX_KEYRING = 16 << 20  # octets of a file with many certificates
MIN_RSA_BITS = 2048
PRIVATE = " comes with its private half: give its public half, or import it as a key of ours with --private"

_WEAK = frozenset({"DSA", "ElGamal"})


@dataclass(frozen=True, slots=True)
class Component:
    """
    One key of a certificate: its primary key or a subkey. Times in UTC.

    `algorithm` is "RSA", "DSA", "ElGamal" or any other name; `bits` counts for RSA only; `encrypts` tells that
    the engine would encrypt mail to it.
    """

    fingerprint: str
    algorithm: str
    bits: int
    created: datetime
    expires: datetime | None
    revoked: bool
    encrypts: bool

    def fault(self, now: datetime) -> str:
        """Tell why this component must not be used now; empty if it may."""
        return self.untimely(now) or self.weakness()

    def untimely(self, now: datetime) -> str:
        """Tell why this component is not valid now; empty if it is."""
        if self.revoked:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return f"expired on {self.expires:%Y-%m-%d}"
        if self.created > now:
            return f"not valid before {self.created:%Y-%m-%d %H:%M} UTC"
        return ""

    def weakness(self) -> str:
        """Tell why this component is too weak at any time; empty if it is not."""
        if self.algorithm in _WEAK:
            return f"too weak ({self.algorithm})"
        if self.algorithm == "RSA" and self.bits < MIN_RSA_BITS:
            return f"too weak (RSA of {self.bits} bits; {MIN_RSA_BITS} are needed)"
        return ""


def refusal(primary: Component, subkeys: Iterable[Component], now: datetime) -> str:
    """
    Tell why mail must not be encrypted to the certificate now; empty if it may.

    The primary key must be sound. Of the components that the engine would encrypt to, one at least must be
    valid now, and every valid one must be strong: a message is as weak as its weakest recipient key.
    """
    if fault := primary.fault(now):
        return fault
    used = [key for key in (primary, *subkeys) if key.encrypts]
    if not used:
        return "no subkey that can be encrypted to"
    untimely = [key.untimely(now) for key in used]
    if all(untimely):
        return f"encryption subkey {untimely[0]}"
    weak = [key.weakness() for key, fault in zip(used, untimely, strict=True) if not fault and key.weakness()]
    return f"encryption subkey {weak[0]}" if weak else ""


def bound_to(certificate: Certificate, owner: str) -> bool:
    """
    Tell whether the certificate's own user IDs name the owner.

    A domain's key is bound by whoever put it under the domain: no user ID needs to name a whole domain.
    """
    local, at, domain = owner.rpartition("@")
    if not at:
        return True
    return f"{local.lower()}@{normal_domain(domain)}" in certificate.addresses


def usable_until(primary: Component, subkeys: Iterable[Component]) -> datetime | None:
    """Tell when the certificate can no longer be encrypted to: with its primary key or its last used subkey."""
    ends = [key.expires for key in subkeys if key.encrypts]
    last = max((end for end in ends if end is not None), default=None) if all(ends) else None
    return min((end for end in (primary.expires, last) if end is not None), default=None)


def address_in(user_id: str) -> str:
    """Give the address in a user ID, `Name <address>` or bare, as `bound_to` compares it; empty if none."""
    head, bracket, rest = user_id.rpartition("<")
    if not bracket:
        return normal_address(head or rest)
    return normal_address(rest[:-1]) if rest.endswith(">") else ""


def normal_address(text: str) -> str:
    """Give a user ID's address as `bound_to` compares it; empty where it is none."""
    local, at, domain = text.strip().rpartition("@")
    if not at or not local or not domain or any(character in text.strip() for character in " \t\r\n<>,"):
        return ""
    try:
        return f"{local.lower()}@{normal_domain(domain)}"
    except AddressError:
        return ""


def check_size(data: bytes, limit: int, what: str) -> None:
    """Refuse input that no honest sender needs; raises CryptoError."""
    if len(data) > limit:
        raise CryptoError(f"{what} has {len(data)} octets; more than {limit} are not read")
