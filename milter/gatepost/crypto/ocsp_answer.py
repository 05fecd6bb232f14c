"""
Answers of OCSP responders (RFC 6960, RFC 5019): asked for, read, and held against the authority that they speak
for.

Rules:
  * The answer is signed by the authority itself, or by a responder whose certificate the authority itself signed
    for that (extendedKeyUsage OCSPSigning, RFC 6960 section 4.2.2.2), valid now; with SHA-2.
  * It is about this very certificate and no other, by the hashes of its authority and by its number.
  * It holds from thisUpdate to nextUpdate; one that names no end is taken while it is fresh.
  * A critical extension that is not known refuses it. No nonce is sent: what can be kept is asked for less often,
    and the times bound a replay.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, SignatureAlgorithmOID

from gatepost.crypto.chain import UNREADABLE, extension, first_line
from gatepost.crypto.revocation_list import DIGESTS, SKEW, revoked_on
from gatepost.errors import CryptoError

MOST = 64 << 10
"""Octets of an answer."""
FRESH = timedelta(hours=1)
"""How old an answer without an end may be."""
_KEPT = timedelta(minutes=5)
_MOST_CERTIFICATES = 8  # beside an answer
_PKCS1 = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
}


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What the authority says of one certificate until `ends`; `revoked` is empty if it is good."""

    revoked: str
    ends: datetime


def responders_of(certificate: x509.Certificate) -> Sequence[str]:
    """Name the URLs of the responders that the certificate names."""
    try:
        access = extension(certificate, x509.AuthorityInformationAccess)
    except UNREADABLE:
        return []
    return [
        one.access_location.value
        for one in access or ()
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    ]


def question(certificate: x509.Certificate, authority: x509.Certificate) -> bytes:
    """Give the request for a certificate of an authority, in DER."""
    # SHA-1 only names the authority here, and it is what every responder knows (RFC 5019 section 2.1.1)
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, authority, hashes.SHA1())  # noqa: S303
    return builder.build().public_bytes(Encoding.DER)


def read_answer(
    data: bytes, certificate: x509.Certificate, authority: x509.Certificate, now: datetime
) -> OcspAnswer:
    """Read an answer about a certificate of that authority; raises CryptoError if it does not tell."""
    try:
        found = ocsp.load_der_ocsp_response(data)
        if found.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise CryptoError(f"the OCSP responder answered {found.response_status.name.lower()}")
        asked = ocsp.load_der_ocsp_request(question(certificate, authority))
        said = list(itertools.islice(found.responses, 2))
        one = said[0] if len(said) == 1 and _is_about(said[0], asked) else None
        fault = next(_faults(found, one, authority, now), "")
    except UNREADABLE as error:
        raise CryptoError(f"the OCSP answer cannot be read: {first_line(error)}") from None
    if fault or one is None:
        raise CryptoError(f"the OCSP answer is not taken: {fault}")
    if one.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise CryptoError("the OCSP responder does not know the certificate")
    ends = one.next_update_utc or now + _KEPT
    if one.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        return OcspAnswer(revoked_on(one.revocation_time_utc, one.revocation_reason), ends)
    return OcspAnswer("", ends)


def _is_about(one: ocsp.OCSPSingleResponse, asked: ocsp.OCSPRequest) -> bool:
    return (
        one.issuer_name_hash == asked.issuer_name_hash
        and one.issuer_key_hash == asked.issuer_key_hash
        and one.serial_number == asked.serial_number
    )


def _faults(
    found: ocsp.OCSPResponse, one: ocsp.OCSPSingleResponse | None, authority: x509.Certificate, now: datetime
) -> Iterator[str]:
    if one is None:
        yield "it is about another certificate, or several"
        return
    if not isinstance(found.signature_hash_algorithm, (*DIGESTS, type(None))):
        yield f"it is signed with {found.signature_hash_algorithm.name}"
    signers = (authority, *found.certificates[:_MOST_CERTIFICATES])
    if not any(_may_speak(signer, authority, now) and _signed(found, signer) for signer in signers):
        yield "neither its authority signed it nor whom that one made its responder"
    if one.this_update_utc > now + SKEW:
        yield f"it holds from {one.this_update_utc:%Y-%m-%d %H:%M} UTC"
    if one.next_update_utc is not None and one.next_update_utc <= now:
        yield f"it held until {one.next_update_utc:%Y-%m-%d %H:%M} UTC"
    if one.next_update_utc is None and one.this_update_utc < now - FRESH:
        yield f"it is of {one.this_update_utc:%Y-%m-%d %H:%M} UTC and names no end"
    for said in (*found.extensions, *found.single_extensions):
        if said.critical:
            yield f"its extension {said.oid.dotted_string} is critical and not known here"


def _may_speak(signer: x509.Certificate, authority: x509.Certificate, now: datetime) -> bool:
    """Tell whether it is the authority, or one that the authority itself made its responder."""
    if signer == authority:
        return True
    purposes = extension(signer, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        return False
    if not signer.not_valid_before_utc <= now < signer.not_valid_after_utc:
        return False
    try:  # which refuses SHA-1 by itself
        signer.verify_directly_issued_by(authority)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _signed(found: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, data, digest = signer.public_key(), found.tbs_response_bytes, found.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and found.signature_algorithm_oid in _PKCS1 and digest is not None:
            key.verify(found.signature, data, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(found.signature, data, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey) and digest is None:
            key.verify(found.signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True
