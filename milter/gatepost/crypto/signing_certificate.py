"""
X.509 certificates of ours: whether mail may be signed with their keys.

RFC 8550 section 4.4.2: a key usage, where there is one, must allow digital signatures or non-repudiation. What is
asked of a certificate that mail is encrypted to (`x509.py`) does not count here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gatepost.crypto.x509 import CURVES, Parsed, parsed
from gatepost.errors import CryptoError

_REMEMBERED = 256
_FOR_MAIL = {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def refusal(certificate: bytes) -> str:
    """Tell why no mail may be signed now with the key of a certificate, in DER; empty if it may."""
    try:
        return parsed(certificate).component.untimely(datetime.now(UTC)) or _fault(certificate)
    except CryptoError as error:
        return str(error)


def signing(certificate: bytes) -> Parsed:
    """Read a certificate, in DER, whose key may sign now; raises CryptoError for any other."""
    if why := refusal(certificate):
        raise CryptoError(f"mail cannot be signed: {why}")
    return parsed(certificate)


@lru_cache(_REMEMBERED)
def _fault(certificate: bytes) -> str:
    found = x509.load_der_x509_certificate(certificate)
    return parsed(certificate).component.weakness() or next(_faults(found), "")


def _faults(found: x509.Certificate) -> Iterator[str]:
    key = found.public_key()
    on_curve = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES)
    if not on_curve and not isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        yield "its key is of a kind that signs no mail"
    for one in found.extensions:
        value = one.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            yield "it is an authority's"
        if isinstance(value, x509.KeyUsage) and not (value.digital_signature or value.content_commitment):
            yield "its key usage does not allow to sign with it (it is for encryption)"
        if isinstance(value, x509.ExtendedKeyUsage) and _FOR_MAIL.isdisjoint(value):
            yield "its extended key usage does not name e-mail"
