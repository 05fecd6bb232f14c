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
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gatepost.crypto.ber import Element
from gatepost.crypto.signature import SignatureError
from gatepost.crypto.signature_algorithm import CURVES, VerifyingKey
from gatepost.crypto.x509 import Parsed, parsed
from gatepost.errors import CryptoError

_REMEMBERED = 1024
_KEY_IDENTIFIER = 0x80  # [0]
_FOR_MAIL = {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


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
        key = _key(found)
        fault = _fault(found, key)
        issuer = found.issuer.rfc4514_string()
    except (CryptoError, ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise SignatureError("the signer's certificate cannot be read") from None
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


def _key(found: x509.Certificate) -> VerifyingKey | None:
    key = found.public_key()
    if isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return key
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES) else None


def _fault(found: x509.Certificate, key: VerifyingKey | None) -> str:
    if key is None:
        return "the signer's key is of a kind that is not known here"
    for one in found.extensions:
        if one.critical and isinstance(one.value, x509.UnrecognizedExtension):
            return "the signer's certificate has a critical extension that is not known here"
        if isinstance(one.value, x509.KeyUsage) and not (
            one.value.digital_signature or one.value.content_commitment
        ):
            return "the signer's certificate is not for signatures"
        if isinstance(one.value, x509.ExtendedKeyUsage) and _FOR_MAIL.isdisjoint(one.value):
            return "the signer's certificate is not for mail"
    return ""
