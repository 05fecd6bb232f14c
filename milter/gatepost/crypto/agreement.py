"""
The key that wraps a content's key, out of the secret that two sides agreed on: the schemes of CMS.

By the KDF of ANSI X9.63 (RFC 5753 section 7.1.4, RFC 8418 section 2.1) or by HKDF (RFC 8418 section 2.2), for NIST
curves and for X25519 alike.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from gatepost.crypto import der
from gatepost.crypto.private_key import HASHES

X963_SHA256 = der.oid("1.3.132.1.11.1")  # dhSinglePass-stdDH-sha256kdf-scheme
HKDF_SHA256 = der.oid("1.2.840.113549.1.9.16.3.19")  # dhSinglePass-stdDH-hkdf-sha256-scheme


@dataclass(frozen=True, slots=True)
class _Scheme:
    digest: str
    hkdf: bool = False


_SCHEMES = {
    der.oid(oid): scheme
    for oid, scheme in (
        ("1.3.133.16.840.63.0.2", _Scheme("sha1")),
        ("1.3.132.1.11.0", _Scheme("sha224")),
        ("1.3.132.1.11.1", _Scheme("sha256")),
        ("1.3.132.1.11.2", _Scheme("sha384")),
        ("1.3.132.1.11.3", _Scheme("sha512")),
        # with the cofactor, which is 1 on the curves that are known here
        ("1.3.133.16.840.63.0.3", _Scheme("sha1")),
        ("1.3.132.1.14.0", _Scheme("sha224")),
        ("1.3.132.1.14.1", _Scheme("sha256")),
        ("1.3.132.1.14.2", _Scheme("sha384")),
        ("1.3.132.1.14.3", _Scheme("sha512")),
        ("1.2.840.113549.1.9.16.3.19", _Scheme("sha256", hkdf=True)),
        ("1.2.840.113549.1.9.16.3.20", _Scheme("sha384", hkdf=True)),
        ("1.2.840.113549.1.9.16.3.21", _Scheme("sha512", hkdf=True)),
    )
}


def wrapping_key(scheme: bytes, secret: bytes, wrap: bytes, octets: int, material: bytes = b"") -> bytes:
    """
    Derive the wrapping key of so many octets.

    `scheme` is an OID and `wrap` the AlgorithmIdentifier of the wrapping, both in DER as the sender wrote them:
    whether NULL stands in the latter is the sender's choice. `material` is the sender's UserKeyingMaterial. Raises
    KeyError for a scheme that is not known.
    """
    how = _SCHEMES[scheme]
    shared = der.sequence(  # ECC-CMS-SharedInfo, RFC 5753 section 7.2
        wrap,
        der.explicit(0, der.octets(material)) if material else b"",
        der.explicit(2, der.octets((octets * 8).to_bytes(4, "big"))),
    )
    digest = HASHES[how.digest]()
    if how.hkdf:
        return HKDF(digest, octets, salt=material or None, info=shared).derive(secret)
    return X963KDF(digest, octets, shared).derive(secret)
