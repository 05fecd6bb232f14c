"""
A certificate as read, whatever its kind: an OpenPGP key's public half or an X.509 certificate.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Certificate:
    """Who a public key is for and whether mail can be encrypted to it now. Times in UTC."""

    fingerprint: str  # upper-case hexadecimal; of X.509 the SHA-256
    user_ids: tuple[str, ...]  # of X.509 the subject
    addresses: tuple[str, ...]  # the addr-specs found in the user IDs, or that X.509 names; lower case
    data: bytes  # binary, transferable public key, or DER; never a private part
    created: datetime
    expires: datetime | None
    refusal: str  # empty if usable, else why mail must not be encrypted to it: "expired on ...", "revoked", ...
    kind: str = "openpgp"  # or "smime"


class Reader(Protocol):
    """Reads certificates. Thread-safe; raises CryptoError."""

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        """Read armored or binary certificates; raises CryptoError naming what is wrong and in which one."""


class EitherReader:
    """Reads certificates of both kinds; which one it is shows in the first octets."""

    def __init__(self, *, openpgp: Reader, smime: Reader) -> None:
        self._openpgp = openpgp
        self._smime = smime

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        """Read certificates, all of one kind; raises CryptoError."""
        return (self._smime if is_x509(data) else self._openpgp).read(data)


def is_x509(data: bytes) -> bool:
    """Tell whether a file begins as X.509 or PKCS #12 does: PEM of a kind that OpenPGP lacks, or DER."""
    start = data[:256].lstrip()[:64]
    if b"-----BEGIN " in start:
        return b"-----BEGIN PGP " not in start
    # A DER SEQUENCE; the first octet of every OpenPGP packet has its highest bit set (RFC 9580 section 4.2)
    return start.startswith((b"\x30", b"Bag Attributes", b"subject=", b"Certificate:"))
