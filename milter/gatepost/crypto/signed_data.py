"""
CMS signatures, written: SignedData about content that stands elsewhere (RFC 5652 section 5).

RSA (PKCS #1 v1.5 or PSS) with SHA-256, ECDSA with the hash that belongs to the curve (RFC 5753 section 2.1),
Ed25519 with SHA-512 (RFC 8419). Signed attributes: content type, message digest, signing time, SMIMECapabilities
of what is opened here (RFC 8551 section 2.5), and the certificate that it was made with (RFC 5035).

The content is digested in pieces; private keys are used by OpenSSL alone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import new, sha256
from typing import IO

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.serialization import load_der_private_key

from gatepost.crypto import capabilities, cms, der
from gatepost.crypto.signature import Signature
from gatepost.crypto.signing_certificate import signing
from gatepost.crypto.x509 import Parsed
from gatepost.errors import CryptoError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_DATA = der.element(0x06, cms.DATA)
_NULL = b"\x05\x00"
_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_SIGNING_TIME = der.oid("1.2.840.113549.1.9.5")
_CAPABILITIES = der.oid("1.2.840.113549.1.9.15")
_SIGNING_CERTIFICATE = der.oid("1.2.840.113549.1.9.16.2.47")
_UTC_TIME, _GENERALIZED_TIME, _LAST_UTC_YEAR = 0x17, 0x18, 2049  # RFC 5652 section 11.3
_SALT = 32
_CHUNK = 1 << 20  # octets


@dataclass(frozen=True, slots=True)
class _Hash:
    """A digest: its name in multipart/signed, its AlgorithmIdentifier (RFC 5754 section 2), how it is made."""

    name: str
    identifier: bytes
    algorithm: hashes.HashAlgorithm

    def of(self, source: IO[bytes]) -> bytes:
        digest = new(self.name.replace("-", ""))
        source.seek(0)
        while piece := source.read(_CHUNK):
            digest.update(piece)
        return digest.digest()


_SHA256 = _Hash("sha-256", der.sequence(der.oid("2.16.840.1.101.3.4.2.1")), hashes.SHA256())
_SHA384 = _Hash("sha-384", der.sequence(der.oid("2.16.840.1.101.3.4.2.2")), hashes.SHA384())
_SHA512 = _Hash("sha-512", der.sequence(der.oid("2.16.840.1.101.3.4.2.3")), hashes.SHA512())
_CURVES = {
    "secp256r1": (_SHA256, der.sequence(der.oid("1.2.840.10045.4.3.2"))),
    "secp384r1": (_SHA384, der.sequence(der.oid("1.2.840.10045.4.3.3"))),
    "secp521r1": (_SHA512, der.sequence(der.oid("1.2.840.10045.4.3.4"))),
}
_ED25519 = der.sequence(der.oid("1.3.101.112"))
_RSA = der.sequence(der.oid("1.2.840.113549.1.1.1"), _NULL)
_PSS = der.sequence(
    der.oid("1.2.840.113549.1.1.10"),
    der.sequence(
        der.explicit(0, _SHA256.identifier),
        der.explicit(1, der.sequence(der.oid("1.2.840.113549.1.1.8"), _SHA256.identifier)),
        der.explicit(2, der.integer(_SALT)),
    ),
)


class SmimeSigner:
    """Implements Signer for CMS. Thread-safe."""

    def __init__(self, *, pss: bool = False) -> None:
        """Take whether RSA keys sign with PSS."""
        self._pss = pss

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        """
        Sign what stands in a file; `private` is the certificate in DER, its key in PKCS #8, and, if any are kept,
        the certificates of the authorities between it and the root.

        Raises CryptoError for a certificate that may not sign now.
        """
        try:
            (_, certificate, _), (_, pkcs8, _), *others = der.parts(private)
            key = load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)  # checked when it came in
        except ValueError:
            raise CryptoError("the private key cannot be read") from None
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise CryptoError("the private key is of a kind that signs no mail")
        own = signing(certificate)
        digest, algorithm = self._algorithms(key)
        attributes = _attributes(own, digest.of(source))
        signature = self._signature(key, der.element(0x31, attributes), digest)
        signer = der.sequence(
            der.integer(1),
            der.sequence(own.issuer, own.serial),
            digest.identifier,
            der.explicit(0, attributes),
            algorithm,
            der.octets(signature),
        )
        certificates = b"".join((certificate, *(whole for _, whole, _ in others)))
        return Signature(_written(digest, certificates, signer), digest.name)

    def _algorithms(self, key: PrivateKey) -> tuple[_Hash, bytes]:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return _CURVES[key.curve.name]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return _SHA512, _ED25519
        return _SHA256, _PSS if self._pss else _RSA

    def _signature(self, key: PrivateKey, signed: bytes, digest: _Hash) -> bytes:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(signed, ec.ECDSA(digest.algorithm))
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(signed)
        padding = PSS(MGF1(digest.algorithm), _SALT) if self._pss else PKCS1v15()
        return key.sign(signed, padding, digest.algorithm)


def _attributes(own: Parsed, digest: bytes) -> bytes:
    """Write the signed attributes, in the order of DER: what a SET of them holds."""
    certificate = sha256(own.certificate.data).digest()
    return der.content(
        der.set_of(
            _attribute(_CONTENT_TYPE, _DATA),
            _attribute(_MESSAGE_DIGEST, der.octets(digest)),
            _attribute(_SIGNING_TIME, _moment(datetime.now(UTC))),
            _attribute(_CAPABILITIES, capabilities.OURS),
            # RFC 5035 section 4: SHA-256 is the default, and so is not named
            _attribute(_SIGNING_CERTIFICATE, der.sequence(der.sequence(der.sequence(der.octets(certificate))))),
        )
    )


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.sequence(kind, der.set_of(value))


def _moment(now: datetime) -> bytes:
    if now.year <= _LAST_UTC_YEAR:
        return der.element(_UTC_TIME, now.strftime("%y%m%d%H%M%SZ").encode())
    return der.element(_GENERALIZED_TIME, now.strftime("%Y%m%d%H%M%SZ").encode())


def _written(digest: _Hash, certificates: bytes, signer: bytes) -> bytes:
    """Write ContentInfo with SignedData: version 1, since its content is data and it names an issuer."""
    signed = der.sequence(
        der.integer(1),
        der.set_of(digest.identifier),
        der.sequence(_DATA),
        der.explicit(0, certificates),
        der.set_of(signer),
    )
    return der.sequence(der.element(0x06, cms.SIGNED), der.explicit(0, signed))
