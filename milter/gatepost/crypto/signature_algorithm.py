"""
The algorithms of CMS signatures: digests, and what is checked with a signer's public key.

RSA with PKCS #1 v1.5 (RFC 8017, RFC 5754), RSASSA-PSS (RFC 4056), ECDSA on the NIST curves (RFC 5754) and Ed25519
(RFC 8419), with SHA-256, SHA-384 and SHA-512. Whatever is weaker is refused, and so is a signature whose parts
name different digests.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from gatepost.crypto import der
from gatepost.crypto.ber import Element, tags
from gatepost.crypto.guard import MIN_RSA_BITS
from gatepost.crypto.signature import SignatureError

VerifyingKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_INTEGER, _OID, _NULL, _SEQUENCE = 0x02, 0x06, 0x05, 0x30
_HASH, _MASK, _SALT, _TRAILER = 0xA0, 0xA1, 0xA2, 0xA3  # RSASSA-PSS-params, RFC 4055 section 3.1
_TRAILER_BC = b"\1"


def _oid(dotted: str) -> bytes:
    return der.content(der.oid(dotted))


_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_DIGESTS = {
    _oid("2.16.840.1.101.3.4.2.1"): "sha256",
    _oid("2.16.840.1.101.3.4.2.2"): "sha384",
    _oid("2.16.840.1.101.3.4.2.3"): "sha512",
}
_WEAK = {
    _oid("2.16.840.1.101.3.4.2.4"): "SHA-224",
    _oid("1.3.14.3.2.26"): "SHA-1",
    _oid("1.2.840.113549.2.5"): "MD5",
    _oid("1.2.840.113549.1.1.14"): "SHA-224",
    _oid("1.2.840.113549.1.1.5"): "SHA-1",
    _oid("1.2.840.113549.1.1.4"): "MD5",
    _oid("1.2.840.10045.4.3.1"): "SHA-224",
    _oid("1.2.840.10045.4.1"): "SHA-1",
}
_PKCS1 = {
    _oid("1.2.840.113549.1.1.11"): "sha256",
    _oid("1.2.840.113549.1.1.12"): "sha384",
    _oid("1.2.840.113549.1.1.13"): "sha512",
}
_ECDSA = {
    _oid("1.2.840.10045.4.3.2"): "sha256",
    _oid("1.2.840.10045.4.3.3"): "sha384",
    _oid("1.2.840.10045.4.3.4"): "sha512",
}
_RSA = _oid("1.2.840.113549.1.1.1")
_PSS, _MGF1 = _oid("1.2.840.113549.1.1.10"), _oid("1.2.840.113549.1.1.8")
_ED25519 = _oid("1.3.101.112")
_PLAIN = {(_OID,), (_OID, _NULL)}

_MIXED = "the signature names two digests"
_UNKNOWN = "the signature's algorithm is not known here"


def digest_name(algorithm: Element) -> str:
    """Name the digest of an AlgorithmIdentifier as hashlib does; raises SignatureError for any other."""
    if tags(algorithm.parts) not in _PLAIN:
        raise SignatureError("the digest's algorithm is malformed")
    name = bytes(algorithm.parts[0].octets)
    if name not in _DIGESTS:
        raise SignatureError(_weakness(name) or "the digest's algorithm is not known here")
    return _DIGESTS[name]


@dataclass(frozen=True, slots=True)
class Message:
    """What was signed: its pieces, the name of its digest as hashlib has it, and the digest."""

    pieces: Sequence[bytes | memoryview]
    name: str
    digest: bytes

    @classmethod
    def of(cls, pieces: Sequence[bytes | memoryview], name: str) -> "Message":
        """Make the digest of what comes in pieces."""
        digest = hashlib.new(name)
        for piece in pieces:
            digest.update(piece)
        return cls(pieces, name, digest.digest())


def check(key: VerifyingKey, algorithm: Element, signature: bytes, message: Message) -> None:
    """Check a signature over a message; raises SignatureError where it is wrong."""
    if tags(algorithm.parts)[:1] != (_OID,):
        raise SignatureError("the signature's algorithm is malformed")
    name = bytes(algorithm.parts[0].octets)
    if weakness := _weakness(name):
        raise SignatureError(weakness)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _check_rsa(key, algorithm, signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            _same(_ECDSA.get(name), message.name)
            _plainly(algorithm)
            key.verify(signature, message.digest, ec.ECDSA(Prehashed(_HASHES[message.name])))
        else:
            if name != _ED25519:
                raise SignatureError(_UNKNOWN)
            key.verify(signature, b"".join(message.pieces))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise SignatureError("the signature is wrong") from None


def _check_rsa(key: rsa.RSAPublicKey, algorithm: Element, signature: bytes, message: Message) -> None:
    if key.key_size < MIN_RSA_BITS:
        raise SignatureError(f"the signer's key is too weak (RSA of {key.key_size} bits)")
    name = bytes(algorithm.parts[0].octets)
    padding: PKCS1v15 | PSS
    if name == _PSS:
        padding = _pss(algorithm, message.name)
    else:
        padding = PKCS1v15()
        if name != _RSA:  # which names no digest
            _same(_PKCS1.get(name), message.name)
        _plainly(algorithm)
    key.verify(signature, message.digest, padding, Prehashed(_HASHES[message.name]))


def _pss(algorithm: Element, digest: str) -> PSS:
    """Read RSASSA-PSS-params; every default names SHA-1, so that none is taken for the digests."""
    if tags(algorithm.parts) != (_OID, _SEQUENCE):
        raise SignatureError("the signature's parameters are missing: they stand for SHA-1, which is too weak")
    fields = {one.tag: one.parts for one in algorithm.parts[1].parts}
    salt, trailer = fields.get(_SALT), fields.get(_TRAILER)
    if (
        len(fields) != len(algorithm.parts[1].parts)
        or not fields.keys() <= {_HASH, _MASK, _SALT, _TRAILER}
        or any(len(parts) != 1 for parts in fields.values())
        or (salt is not None and salt[0].tag != _INTEGER)
        or (trailer is not None and bytes(trailer[0].octets) != _TRAILER_BC)
    ):
        raise SignatureError("the signature's parameters are malformed")
    if _HASH not in fields or _MASK not in fields:
        raise SignatureError("the signature's parameters stand for SHA-1, which is too weak")
    mask = fields[_MASK][0]
    if tags(mask.parts) != (_OID, _SEQUENCE) or mask.parts[0].octets != _MGF1:
        raise SignatureError("the signature's mask is not known here")
    _same(digest_name(fields[_HASH][0]), digest)
    _same(digest_name(mask.parts[1]), digest)
    length = int.from_bytes(salt[0].octets, "big", signed=True) if salt else 20
    if length < 0:
        raise SignatureError("the signature's parameters are malformed")
    return PSS(MGF1(_HASHES[digest]), length)


def _weakness(name: bytes) -> str:
    weak = _WEAK.get(name)
    return f"the signature is made with {weak}, which is too weak" if weak else ""


def _same(named: str | None, digest: str) -> None:
    """Refuse an algorithm that is not known for the signer's key, or that names another digest."""
    if named is None:
        raise SignatureError(_UNKNOWN)
    if named != digest:
        raise SignatureError(_MIXED)


def _plainly(algorithm: Element) -> None:
    if tags(algorithm.parts) not in _PLAIN:
        raise SignatureError("the signature's algorithm is malformed")
