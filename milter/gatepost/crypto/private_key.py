"""
The private key of an S/MIME certificate, wherever it is kept: what it can do, and its operations.

`SoftwareKey` holds the key in this process (OpenSSL); one on a token (PKCS #11) is another. Whoever works with
keys takes a `Load`, which makes one or the other out of what the key table keeps. Lives only in the key worker.

A key does what its certificate's key usage allows, and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from gatepost.crypto import der
from gatepost.crypto.x509 import Parsed, parsed
from gatepost.errors import CryptoError, WorkerError

PLACE = 0x0C  # UTF8String: in the place of a key in PKCS #8, the URI of one on a token
_CERTIFICATE = 0x30  # SEQUENCE
Held = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | ed25519.Ed25519PrivateKey

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class Scheme(StrEnum):
    """How a signature is made."""

    PKCS1 = "rsa-pkcs1"  # RSASSA-PKCS1-v1_5, RFC 8017 section 8.2
    PSS = "rsa-pss"  # RFC 8017 section 8.1; MGF1 with the same hash, a salt as long as its digest (RFC 4056)
    ECDSA = "ecdsa"  # the value is ECDSA-Sig-Value in DER (RFC 5753 section 7.2)
    ED25519 = "ed25519"  # RFC 8419; the digest does not count, PureEdDSA signs the data themselves


@dataclass(frozen=True, slots=True)
class Signing:
    """A scheme with its digest, one of HASHES."""

    scheme: Scheme
    digest: str = "sha256"


@dataclass(frozen=True, slots=True)
class Oaep:
    """The parameters of RSAES-OAEP (RFC 8017 appendix A.2.1): two hashes, each one of HASHES, and the label."""

    digest: str = "sha1"
    mask: str = "sha1"
    label: bytes = b""


@dataclass(frozen=True, slots=True)
class Abilities:
    """
    What a key can do: `decrypt` by RSA, `exchange` on its curve, and `sign` by these schemes, best known first.

    Mail can be opened with it if it can do one of the first two.
    """

    decrypt: bool
    exchange: bool
    schemes: tuple[Scheme, ...]


class PrivateKey(Protocol):
    """
    One private key. Thread-safe.

    Each operation raises ValueError for input that does not fit, one by a key that cannot do it included; and
    WorkerError, which is temporary, where the key cannot be reached.
    """

    @property
    def abilities(self) -> Abilities:
        """Tell what it can do; costs nothing."""

    def decrypt(self, hidden: bytes, oaep: Oaep | None) -> bytes:
        """
        Decrypt by RSA; without OAEP's parameters by RSAES-PKCS1-v1_5.

        Wrong padding of PKCS #1 v1.5 gives random octets, or ValueError: callers must not let it be told which.
        """

    def exchange(self, public: bytes) -> bytes:
        """
        Agree on a secret with another's public key, given as it stands in OriginatorPublicKey.

        That is a point (RFC 5480 section 2.2), of X25519 32 octets (RFC 8410 section 4). Gives the raw secret.
        """

    def sign(self, data: bytes, how: Signing) -> bytes:
        """Sign data, which are digested here; gives the value as CMS has it."""


Load = Callable[[bytes], tuple[Parsed, PrivateKey]]
"""Reads what the key table keeps of a private key; raises CryptoError."""


def abilities(own: Parsed) -> Abilities:
    """Tell what the private key of a certificate can do."""
    opens, signs = not own.encryption_fault, not own.signature_fault
    match own.key:
        case rsa.RSAPublicKey() if own.pss_only:
            return Abilities(decrypt=False, exchange=False, schemes=(Scheme.PSS,) if signs else ())
        case rsa.RSAPublicKey():
            return Abilities(opens, exchange=False, schemes=(Scheme.PKCS1, Scheme.PSS) if signs else ())
        case ec.EllipticCurvePublicKey():
            return Abilities(decrypt=False, exchange=opens, schemes=(Scheme.ECDSA,) if signs else ())
        case x25519.X25519PublicKey():
            return Abilities(decrypt=False, exchange=opens, schemes=())
        case ed25519.Ed25519PublicKey():
            return Abilities(decrypt=False, exchange=False, schemes=(Scheme.ED25519,) if signs else ())
    return Abilities(decrypt=False, exchange=False, schemes=())


def load(private: bytes) -> tuple[Parsed, PrivateKey]:
    """
    Read a certificate in DER with its key in PKCS #8 behind it.

    Raises CryptoError where that cannot be read, and WorkerError for a key that lies on a token.
    """
    certificate, key, place = parts(private)
    own = parsed(certificate)
    if place:
        raise WorkerError(
            f"the private key is on a token ({place}), and the site's settings name no pkcs11_module"
        )
    try:
        held = load_der_private_key(key, None, unsafe_skip_rsa_key_validation=True)  # checked when it came in
    except (ValueError, TypeError, UnsupportedAlgorithm):
        held = None
    if not isinstance(held, Held):
        raise CryptoError(f"the private key of certificate {own.certificate.fingerprint} cannot be read")
    return own, SoftwareKey(held, abilities(own))


def parts(private: bytes) -> tuple[bytes, bytes, str]:
    """
    Part what the key table keeps: the certificate, what stands for its key, and the URI of a key on a token.

    The URI is empty where the key itself stands there. Certificates of authorities may follow, and are left out.
    Raises CryptoError.
    """
    try:
        found = list(der.parts(private))
        place = found[1][2].decode() if found[1][0] == PLACE else ""
    except (ValueError, IndexError):
        found, place = [], ""
    if not found or any(tag != _CERTIFICATE for tag, _, _ in (found[0], *found[2:])):
        raise CryptoError("what is kept of a private key is no certificate with its key")
    return found[0][1], found[1][1], place


def belongs(own: Parsed, key: PrivateKey) -> bool:
    """Tell whether a private key is the certificate's, by using it once; raises ValueError, WorkerError."""
    trial, can = b"is it the same key?", key.abilities
    if can.decrypt and isinstance(own.key, rsa.RSAPublicKey):
        return key.decrypt(hide(own.key, trial, None), None) == trial
    if can.exchange and isinstance(own.key, ec.EllipticCurvePublicKey):
        other = ec.generate_private_key(own.key.curve)
        point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return key.exchange(point) == other.exchange(ec.ECDH(), own.key)
    value = key.sign(trial, Signing(can.schemes[0]))
    digest = hashes.SHA256()
    try:
        match own.key:
            case rsa.RSAPublicKey() if can.schemes[0] is Scheme.PSS:
                own.key.verify(value, trial, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
            case rsa.RSAPublicKey():
                own.key.verify(value, trial, padding.PKCS1v15(), digest)
            case ec.EllipticCurvePublicKey():
                own.key.verify(value, trial, ec.ECDSA(digest))
            case ed25519.Ed25519PublicKey():
                own.key.verify(value, trial)
    except InvalidSignature:
        return False
    return True


def hide(public: rsa.RSAPublicKey, secret: bytes, oaep: Oaep | None) -> bytes:
    """Encrypt to an RSA key, as PrivateKey.decrypt decrypts."""
    return public.encrypt(secret, _padding(oaep))


class SoftwareKey:
    """Implements PrivateKey with a key in this process."""

    def __init__(self, held: Held, can: Abilities) -> None:
        """Take the key, and what of it may be used."""
        self._held = held
        self.abilities = can

    def decrypt(self, hidden: bytes, oaep: Oaep | None) -> bytes:
        """Decrypt by RSA; OpenSSL gives random octets for wrong padding of PKCS #1 v1.5."""
        if not self.abilities.decrypt or not isinstance(self._held, rsa.RSAPrivateKey):
            raise ValueError("this key does not decrypt")
        return self._held.decrypt(hidden, _padding(oaep))

    def exchange(self, public: bytes) -> bytes:
        """Agree on a secret."""
        if self.abilities.exchange:
            if isinstance(self._held, ec.EllipticCurvePrivateKey):
                point = ec.EllipticCurvePublicKey.from_encoded_point(self._held.curve, public)
                return self._held.exchange(ec.ECDH(), point)
            if isinstance(self._held, x25519.X25519PrivateKey):
                # RFC 8418 section 2: an all-zero secret is refused, which the library does
                return self._held.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        raise ValueError("this key does not agree on secrets")

    def sign(self, data: bytes, how: Signing) -> bytes:
        """Sign data."""
        if how.scheme not in self.abilities.schemes:
            raise ValueError(f"this key does not sign by {how.scheme}")
        digest = HASHES[how.digest]()
        match self._held:
            case rsa.RSAPrivateKey() if how.scheme is Scheme.PSS:
                return self._held.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
            case rsa.RSAPrivateKey():
                return self._held.sign(data, padding.PKCS1v15(), digest)
            case ec.EllipticCurvePrivateKey():
                return self._held.sign(data, ec.ECDSA(digest))
            case ed25519.Ed25519PrivateKey():
                return self._held.sign(data)
        raise ValueError("this key does not sign")


def _padding(oaep: Oaep | None) -> padding.OAEP | padding.PKCS1v15:
    if oaep is None:
        return padding.PKCS1v15()
    mask, digest = padding.MGF1(HASHES[oaep.mask]()), HASHES[oaep.digest]()
    return padding.OAEP(mask, digest, oaep.label or None)
