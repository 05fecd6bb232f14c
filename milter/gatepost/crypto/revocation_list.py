"""
Certificate revocation lists (RFC 5280 section 5): read, and held against the authority that must have signed them.

Rules:
  * The list is signed by the key that signed the certificate, with SHA-2, and its authority may sign lists.
  * It holds from thisUpdate to nextUpdate, which it must name.
  * A list of another authority's certificates (indirect), of changes alone (delta), of some reasons alone, or with
    a critical extension that is not known tells nothing here.
  * Of a list for users' or for authorities' certificates alone, or for one distribution point, nothing follows for
    other certificates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from gatepost.crypto.chain import UNREADABLE, extension, first_line
from gatepost.errors import CryptoError

MOST = 10 << 20
"""Octets of a list."""
SKEW = timedelta(minutes=5)
"""How far another's clock may be ahead of ours."""
DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_PEM = b"-----BEGIN "
_SIGNERS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)
_KNOWN = (x509.IssuingDistributionPoint, x509.AuthorityKeyIdentifier, x509.CRLNumber)


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list that its authority signed; it holds until `ends`."""

    found: x509.CertificateRevocationList
    ends: datetime

    def revoked(self, certificate: x509.Certificate) -> str:
        """
        Tell when and why a certificate of the authority was revoked; empty if it was not.

        Raises CryptoError where the list does not tell.
        """
        if fault := next(self._beyond(certificate), ""):
            raise CryptoError(fault)
        try:
            entry = self.found.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is None:
                return ""
            reason = next((one.value for one in entry.extensions if isinstance(one.value, x509.CRLReason)), None)
            if any(one.critical and not isinstance(one.value, x509.CRLReason) for one in entry.extensions):
                raise CryptoError("what the revocation list says of it has a critical extension that is not known")
        except UNREADABLE as error:
            raise CryptoError(f"the revocation list cannot be read: {error}") from None
        if reason is not None and reason.reason is x509.ReasonFlags.remove_from_crl:
            return ""
        return revoked_on(entry.revocation_date_utc, None if reason is None else reason.reason)

    def _beyond(self, certificate: x509.Certificate) -> Iterator[str]:
        scope = _scope(self.found)
        if scope is None:
            return
        constraints = extension(certificate, x509.BasicConstraints)
        authority = constraints is not None and constraints.ca
        if (scope.only_contains_user_certs and authority) or (scope.only_contains_ca_certs and not authority):
            yield "the revocation list is not for this kind of certificate"
        if scope.full_name is not None and not set(scope.full_name) & set(_points(certificate)):
            yield "the revocation list is for another distribution point"


def revoked_on(when: datetime | None, reason: x509.ReasonFlags | None) -> str:
    """Tell a revocation in words."""
    date = "" if when is None else f" on {when:%Y-%m-%d}"
    return f"revoked{date}{'' if reason is None else f' ({reason.value})'}"


def lists_of(certificate: x509.Certificate) -> Sequence[str]:
    """Name the URLs where the certificate says that whole lists of its own authority are."""
    try:
        return [one.value for one in _points(certificate) if isinstance(one, x509.UniformResourceIdentifier)]
    except UNREADABLE:
        return []


def read_list(data: bytes, authority: x509.Certificate, now: datetime) -> RevocationList:
    """Read a list, in DER or PEM, that this authority must have signed; raises CryptoError."""
    try:
        load = x509.load_pem_x509_crl if data.startswith(_PEM) else x509.load_der_x509_crl
        found = load(data)
        faults = chain(_of_signature(found, authority), _of_time(found, now), _of_scope(found))
        fault = next(faults, "")
    except UNREADABLE as error:
        raise CryptoError(f"the revocation list cannot be read: {first_line(error)}") from None
    if fault or found.next_update_utc is None:
        raise CryptoError(f"the revocation list is not taken: {fault}")
    return RevocationList(found, found.next_update_utc)


def _of_signature(found: x509.CertificateRevocationList, authority: x509.Certificate) -> Iterator[str]:
    if found.issuer != authority.subject:
        yield f"it is {found.issuer.rfc4514_string()}'s"
    usage = extension(authority, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        yield "the key usage of its authority does not allow to sign it"
    if found.signature_hash_algorithm is not None and not isinstance(found.signature_hash_algorithm, DIGESTS):
        yield f"it is signed with {found.signature_hash_algorithm.name}"
    key = authority.public_key()
    if isinstance(key, dsa.DSAPublicKey) or not isinstance(key, _SIGNERS) or not found.is_signature_valid(key):
        yield "its authority did not sign it"


def _of_time(found: x509.CertificateRevocationList, now: datetime) -> Iterator[str]:
    if found.last_update_utc > now + SKEW:
        yield f"it holds from {found.last_update_utc:%Y-%m-%d %H:%M} UTC"
    if found.next_update_utc is None:
        yield "it does not say until when it holds"
    elif found.next_update_utc <= now:
        yield f"it held until {found.next_update_utc:%Y-%m-%d %H:%M} UTC"


def _of_scope(found: x509.CertificateRevocationList) -> Iterator[str]:
    for one in found.extensions:
        if one.critical and not isinstance(one.value, _KNOWN):
            yield f"its extension {one.oid.dotted_string} is critical and not known here"
    scope = _scope(found)
    if scope is not None and (scope.indirect_crl or scope.only_contains_attribute_certs):
        yield "it is for certificates of others"
    if scope is not None and (scope.only_some_reasons is not None or scope.relative_name is not None):
        yield "it is for some reasons alone, or for a place that is not told by an URL"


def _scope(found: x509.CertificateRevocationList) -> x509.IssuingDistributionPoint | None:
    try:
        return found.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return None


def _points(certificate: x509.Certificate) -> Sequence[x509.GeneralName]:
    """Name the points at which the certificate's own authority publishes lists of all reasons."""
    points = extension(certificate, x509.CRLDistributionPoints)
    return [
        name
        for point in points or ()
        if point.crl_issuer is None and point.reasons is None
        for name in point.full_name or ()
    ]
