"""
X.509 certificates of those who sign: found among others, and judged whether they may sign mail now.

What the certificate says of itself is held against RFC 8550 section 4.4. Whether anybody vouches for it is judged
elsewhere.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509

from gatepost.crypto.ber import Element
from gatepost.crypto.signature import SignatureError
from gatepost.crypto.signature_algorithm import VerifyingKey
from gatepost.crypto.x509 import Parsed, parsed
from gatepost.errors import CryptoError

_REMEMBERED = 1024
_KEY_IDENTIFIER = 0x80  # [0]


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A certificate and the key that checks its signatures; `fault` is why it signs no mail, at any time."""

    parsed: Parsed
    key: VerifyingKey | None
    fault: str
    serial: str  # hexadecimal
    issuer: str  # RFC 4514

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that it names, in lower case."""
        return self.parsed.certificate.addresses

    def refusal(self, now: datetime | None = None) -> str:
        """Tell why what it signs does not count now; empty if it does."""
        untimely = self.parsed.component.untimely(now or datetime.now(UTC))
        return f"the signer's certificate is {untimely}" if untimely else self.fault


@lru_cache(_REMEMBERED)
def signing_certificate(data: bytes) -> SigningCertificate:
    """Read a certificate in DER; raises SignatureError."""
    try:
        described = parsed(data)
        found = x509.load_der_x509_certificate(data)
        issuer = found.issuer.rfc4514_string()
    except (CryptoError, ValueError):
        raise SignatureError("the signer's certificate cannot be read") from None
    key = described.key if isinstance(described.key, VerifyingKey) else None
    fault = described.signature_fault and f"the signer's certificate: {described.signature_fault}"
    return SigningCertificate(described, key, fault, f"{found.serial_number:X}", issuer)


def named(identifier: Element, certificates: Iterable[bytes]) -> Iterator[tuple[bytes, SigningCertificate]]:
    """Find the certificates that a SignerIdentifier may mean; those that cannot be read mean nobody."""
    for data in certificates:
        try:
            found = signing_certificate(data)
        except SignatureError:
            continue
        if identifier.tag == _KEY_IDENTIFIER:
            meant = bool(identifier.octets) and identifier.octets == found.parsed.key_identifier
        else:
            wanted = (found.parsed.issuer, found.parsed.serial)
            meant = tuple(one.whole for one in identifier.parts) == wanted
        if meant:
            yield data, found
