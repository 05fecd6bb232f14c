"""
X.509 certificates of correspondents: read, and judged whether mail may be encrypted to them, or signed by them.

What a certificate says of itself is held against RFC 8550 (S/MIME certificates) and RFC 5280. Whoever imports one
vouches for whom it is; where authorities are to vouch, `certification` asks them.
"""

import re
import ssl
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gatepost.crypto import capabilities, der, guard
from gatepost.crypto.certificate import Certificate
from gatepost.crypto.guard import Component
from gatepost.errors import CryptoError

Extension = TypeVar("Extension", bound=x509.ExtensionType)
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | x25519.X25519PublicKey | ed25519.Ed25519PublicKey
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

_REMEMBERED = 1024
_PEM = b"-----BEGIN CERTIFICATE-----"
_PKCS7 = b"-----BEGIN PKCS7-----"
_CAPABILITIES = x509.ObjectIdentifier("1.2.840.113549.1.9.15")
_PSS = x509.ObjectIdentifier("1.2.840.113549.1.1.10")
_FOR_MAIL = {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_VERSION_TAG = 0xA0


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    A certificate with what encrypting to it, and verifying by it, needs.

    `key` is None where its kind is not known here; `pss_only` tells that it is RSA for RSASSA-PSS alone (RFC 4055
    section 1.2). `issuer` and `serial` stand as in the certificate, in DER; `key_identifier` is what some name it
    by; `capabilities` are the algorithms that it announces (RFC 4262), as OIDs in DER.

    `fault` is why it serves for no mail, at any time; `encryption_fault` why it is never encrypted to, and
    `signature_fault` why it never signs, with that fault or one of their own. Empty if there is none.
    """

    certificate: Certificate
    key: PublicKey | None
    issuer: bytes
    serial: bytes
    key_identifier: bytes
    capabilities: frozenset[bytes]
    component: Component
    fault: str
    encryption_fault: str
    signature_fault: str
    pss_only: bool = False

    def refusal(self, now: datetime) -> str:
        """Tell why mail must not be encrypted to it now; empty if it may."""
        return self.component.fault(now) or self.encryption_fault

    def signing_refusal(self, now: datetime) -> str:
        """Tell why mail must not be signed with its key now; empty if it may."""
        return self.component.fault(now) or self.signature_fault


class X509Reader:
    """Reads certificates; the port `Reader`."""

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        """Read PEM, DER, or a PKCS #7 bundle; certificates of authorities beside others are left out."""
        guard.check_size(data, guard.MAX_KEYRING, "the file")
        now = datetime.now(UTC)
        found = [parsed(each) for each in certificates(data)]
        own = [one for one in found if not one.fault.startswith(_AUTHORITY)] or found
        return tuple(replace(one.certificate, refusal=one.refusal(now)) for one in own)


def pem(data: bytes) -> str:
    """Give a certificate, in DER, as PEM."""
    return ssl.DER_cert_to_PEM_cert(data)


def usable(data: bytes) -> Parsed:
    """Give a certificate, in DER, that mail may be encrypted to now; raises CryptoError for any other."""
    found = parsed(data)
    if refusal := found.refusal(datetime.now(UTC)):
        raise CryptoError(f"certificate {found.certificate.fingerprint}: {refusal}")
    return found


@lru_cache(_REMEMBERED)
def parsed(data: bytes) -> Parsed:
    """Read one certificate in DER; raises CryptoError."""
    guard.check_size(data, guard.MAX_CERTIFICATE, "a certificate")
    try:
        found = x509.load_der_x509_certificate(data)
        issuer, serial = _named(found.tbs_certificate_bytes)
        return _parsed(found, data, issuer, serial)
    except _UNREADABLE as error:
        raise CryptoError(f"an X.509 certificate cannot be read: {_first_line(error)}") from None


_AUTHORITY = "it is an authority's"

# What is wrong with a certificate is told as its fault
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, module=re.escape(__name__))


def _parsed(found: x509.Certificate, data: bytes, issuer: bytes, serial: bytes) -> Parsed:
    fingerprint = found.fingerprint(hashes.SHA256()).hex().upper()
    addresses = tuple(dict.fromkeys(filter(None, map(guard.normal_address, _addresses(found)))))
    pss_only = found.public_key_algorithm_oid == _PSS
    key, algorithm, bits = _key(found)
    fault = next(_faults(found, key, algorithm), "")
    starts, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return Parsed(
        certificate=Certificate(
            fingerprint=fingerprint,
            user_ids=(found.subject.rfc4514_string(),),
            addresses=addresses,
            data=data,
            created=starts,
            expires=ends,
            refusal="",
            kind="smime",
        ),
        key=key,
        issuer=issuer,
        serial=serial,
        key_identifier=_key_identifier(found, key),
        capabilities=_capabilities(found),
        component=Component(fingerprint, algorithm, bits, starts, ends, revoked=False, encrypts=True),
        fault=fault,
        encryption_fault=fault or _encryption_fault(found, key, pss_only=pss_only),
        signature_fault=fault or _signature_fault(found, key),
        pss_only=pss_only,
    )


def is_certificates(data: bytes) -> bool:
    """Tell whether a file holds certificates and no private key: PEM, or DER that is no PKCS #12."""
    if b"-----BEGIN " in data:
        return b"PRIVATE KEY-----" not in data and (_PEM in data or _PKCS7 in data)
    return data.startswith(b"\x30") and bool(_readable(data))


def _readable(data: bytes) -> list[x509.Certificate]:
    try:
        return _certificates(data)
    except CryptoError:
        return []


def certificates(data: bytes) -> tuple[bytes, ...]:
    """Give every certificate in PEM, DER, or a PKCS #7 bundle, in DER; raises CryptoError."""
    return tuple(each.public_bytes(Encoding.DER) for each in _certificates(data))


def _certificates(data: bytes) -> list[x509.Certificate]:
    try:
        if _PKCS7 in data:
            return pkcs7.load_pem_pkcs7_certificates(data)
        if _PEM in data:
            return x509.load_pem_x509_certificates(data)
        if data.startswith(b"-----BEGIN "):
            kind = data[11:75].partition(b"-----")[0].decode("ascii", "replace")
            raise CryptoError(f"PEM holds {kind!r}, no CERTIFICATE; a private key of ours comes in with --private")
        with suppress(*_UNREADABLE):
            return [x509.load_der_x509_certificate(data)]
        return pkcs7.load_der_pkcs7_certificates(data)
    except _UNREADABLE as error:
        raise CryptoError(f"no X.509 certificate can be read: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _named(to_be_signed: bytes) -> tuple[bytes, bytes]:
    """Give issuer and serial number as they stand in a TBSCertificate (RFC 5280 section 4.1)."""
    found = [(tag, whole) for tag, whole, _ in der.parts(der.content(to_be_signed))]
    if found[0][0] == _VERSION_TAG:
        del found[0]
    return found[2][1], found[0][1]


def _addresses(found: x509.Certificate) -> Iterator[str]:
    """Name the addresses: those of subjectAltName, and of the subject (RFC 8550 section 3)."""
    names = _extension(found, x509.SubjectAlternativeName)
    if names is not None:
        yield from names.get_values_for_type(x509.RFC822Name)
    for one in found.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        yield str(one.value)


def _key(found: x509.Certificate) -> tuple[PublicKey | None, str, int]:
    """Give the key, if its kind is known here; the name of its kind; and the bits of RSA."""
    try:
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None, "unknown", 0
    if isinstance(key, rsa.RSAPublicKey):
        return key, "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (key if isinstance(key.curve, CURVES) else None), f"EC {key.curve.name}", 0
    kind = type(key).__name__.removesuffix("PublicKey").lstrip("_")
    return (key if isinstance(key, x25519.X25519PublicKey | ed25519.Ed25519PublicKey) else None), kind, 0


def _key_identifier(found: x509.Certificate, key: PublicKey | None) -> bytes:
    """Give the certificate's subject key identifier, or what it would be (RFC 5280 section 4.2.1.2)."""
    there = _extension(found, x509.SubjectKeyIdentifier)
    if there is None and key is not None:
        there = x509.SubjectKeyIdentifier.from_public_key(key)
    return there.digest if there else b""


def _faults(found: x509.Certificate, key: PublicKey | None, algorithm: str) -> Iterator[str]:
    """Tell why it serves for no mail, at any time."""
    constraints = _extension(found, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield f"{_AUTHORITY}, and no correspondent's"
    if found.serial_number <= 0:
        yield "its serial number is not positive (RFC 5280 section 4.1.2.2)"
    for one in found.extensions:
        if one.critical and isinstance(one.value, x509.UnrecognizedExtension):
            yield f"its extension {one.oid.dotted_string} is critical and not known here"
    if key is None:
        yield (
            f"its key is of the kind {algorithm}; RSA, the curves P-256, P-384 and P-521, X25519 and Ed25519 are"
            " known"
        )
    purposes = _extension(found, x509.ExtendedKeyUsage)
    if purposes is not None and _FOR_MAIL.isdisjoint(purposes):
        yield "its extended key usage does not name e-mail"


def _encryption_fault(found: x509.Certificate, key: PublicKey | None, *, pss_only: bool) -> str:
    """Tell why its kind or its key usage does not let it be encrypted to (RFC 8550 section 4.4.2)."""
    if isinstance(key, ed25519.Ed25519PublicKey) or pss_only:
        return f"its key is of the kind {'RSASSA-PSS' if pss_only else 'Ed25519'}, which only signs"
    usage = _extension(found, x509.KeyUsage)
    transports = isinstance(key, rsa.RSAPublicKey)
    if usage is not None and not (usage.key_encipherment if transports else usage.key_agreement):
        return "its key usage does not allow to encrypt to it (it is for signatures)"
    return ""


def _signature_fault(found: x509.Certificate, key: PublicKey | None) -> str:
    """Tell why its kind or its key usage does not let it sign."""
    if isinstance(key, x25519.X25519PublicKey):
        return "its key is of the kind X25519, which does not sign"
    usage = _extension(found, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return "its key usage does not allow it to sign (it is for encryption)"
    return ""


def _extension(found: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return found.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _capabilities(found: x509.Certificate) -> frozenset[bytes]:
    """Name the algorithms of the extension SMIMECapabilities (RFC 4262); none where it cannot be read."""
    for one in found.extensions:
        if one.oid == _CAPABILITIES and isinstance(one.value, x509.UnrecognizedExtension):
            return capabilities.announced(one.value.value)
    return frozenset()
