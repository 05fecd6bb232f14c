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

from gatepost.crypto import capabilities, cms, der
from gatepost.crypto.own_signature import Signature
from gatepost.crypto.private_key import Load, Scheme, Signing
from gatepost.crypto.x509 import Parsed
from gatepost.errors import CryptoError

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
    """A digest: its name, also in multipart/signed, and its AlgorithmIdentifier (RFC 5754 section 2)."""

    name: str
    micalg: str
    identifier: bytes

    def of(self, source: IO[bytes]) -> bytes:
        digest = new(self.name)
        source.seek(0)
        while piece := source.read(_CHUNK):
            digest.update(piece)
        return digest.digest()


_SHA256, _SHA384, _SHA512 = (
    _Hash(f"sha{bits}", f"sha-{bits}", der.sequence(der.oid(f"2.16.840.1.101.3.4.2.{number}")))
    for number, bits in ((1, 256), (2, 384), (3, 512))
)
_CURVES = {"EC secp256r1": (_SHA256, 2), "EC secp384r1": (_SHA384, 3), "EC secp521r1": (_SHA512, 4)}
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
    """Implements SignatureMaker for CMS. Thread-safe."""

    def __init__(self, load: Load, *, pss: bool = False) -> None:
        """Take what reads private keys, and whether RSA keys sign with PSS."""
        self._load = load
        self._pss = pss

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        """
        Sign what stands in a file; `private` is the certificate in DER with what stands for its key, and, if any
        are kept, the certificates of the authorities between it and the root.

        Raises CryptoError for a certificate that may not sign now, WorkerError for a key that cannot be reached.
        """
        own, key = self._load(private)
        if why := own.signing_refusal(datetime.now(UTC)):
            raise CryptoError(f"mail cannot be signed: {why}")
        scheme = self._scheme(key.abilities.schemes)
        digest, algorithm = _algorithms(scheme, own)
        attributes = _attributes(own, digest.of(source))
        try:
            signature = key.sign(der.element(0x31, attributes), Signing(scheme, digest.name))
        except ValueError as error:
            raise CryptoError(f"mail cannot be signed: {error}") from None
        signer = der.sequence(
            der.integer(1),
            der.sequence(own.issuer, own.serial),
            digest.identifier,
            der.explicit(0, attributes),
            algorithm,
            der.octets(signature),
        )
        _, _, *others = der.parts(private)
        certificates = b"".join((own.certificate.data, *(whole for _, whole, _ in others)))
        return Signature(_written(digest, certificates, signer), digest.micalg)

    def _scheme(self, schemes: tuple[Scheme, ...]) -> Scheme:
        if self._pss and Scheme.PSS in schemes:
            return Scheme.PSS
        if not schemes:
            raise CryptoError("mail cannot be signed: the private key signs nothing")
        return schemes[0]


def _algorithms(scheme: Scheme, own: Parsed) -> tuple[_Hash, bytes]:
    """Give the digest and the signature's AlgorithmIdentifier."""
    match scheme:
        case Scheme.ECDSA:
            digest, number = _CURVES[own.component.algorithm]
            return digest, der.sequence(der.oid(f"1.2.840.10045.4.3.{number}"))
        case Scheme.ED25519:
            return _SHA512, _ED25519
        case Scheme.PSS:
            return _SHA256, _PSS
    return _SHA256, _RSA


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
