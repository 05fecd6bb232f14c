"""
CMS envelopes, written: content encrypted once, and its key to each recipient's certificate.

EnvelopedData with AES in CBC mode (RFC 5652 section 6, RFC 3565), which every mail program reads, or
AuthEnvelopedData with AES in GCM mode (RFC 5083, RFC 5084), which protects the content against changes. The key
goes to RSA by key transport (RFC 5652 section 6.2.1; OAEP by RFC 3560) and to elliptic curves by ephemeral-static
Diffie-Hellman with SHA-256 and AES-256 key wrap: to NIST's by the KDF of X9.63 (RFC 5753 section 3.1.1), which
every mail program reads, to X25519 by HKDF (RFC 8418 section 2.2), which RFC 8551 section 2.3 demands.

Everything has a definite length, so the ciphertext is gathered before the envelope is put around it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes, keywrap, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.crypto import agreement, capabilities, cms, der
from gatepost.crypto.content_cipher import CIPHERS, ContentCipher, chosen
from gatepost.crypto.x509 import Parsed, usable
from gatepost.errors import CryptoError
from gatepost.message.body import Spool

_DATA = der.element(0x06, cms.DATA)
_RSA = der.sequence(der.oid("1.2.840.113549.1.1.1"), b"\x05\x00")
_SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00")
_OAEP = der.sequence(
    der.oid("1.2.840.113549.1.1.7"),
    der.sequence(
        der.explicit(0, _SHA256), der.explicit(1, der.sequence(der.oid("1.2.840.113549.1.1.8"), _SHA256))
    ),
)
_EC_KEY = der.sequence(der.oid("1.2.840.10045.2.1"))
_X25519_KEY = der.sequence(der.oid("1.3.101.110"))  # RFC 8410 section 3: no parameters
_WRAP = der.sequence(der.oid("2.16.840.1.101.3.4.1.45"))  # aes256-wrap
_WRAP_OCTETS = 32
_BLOCK = 16
_TAG = 16
_NONCE = 12
_NOTHING: Mapping[bytes, bytes] = MappingProxyType({})


class Enveloper:
    """Writes envelopes. Thread-safe."""

    def __init__(self, *, cipher: str = "aes256-cbc", oaep: bool = False, directory: Path | None = None) -> None:
        """
        Take the cipher (one of CIPHERS) for recipients who announced nothing, whether RSA keys are used with OAEP,
        and the directory where large content is spooled.
        """
        self._cipher = CIPHERS[cipher]
        self._oaep = oaep
        self._directory = directory

    def envelop(
        self,
        pieces: Iterable[bytes],
        certificates: Sequence[bytes],
        on_piece: Callable[[], None],
        *,
        announced: Mapping[bytes, bytes] = _NOTHING,
        floor: str = "",
    ) -> tuple[ContentCipher, Iterator[bytes]]:
        """
        Encrypt content in pieces to every certificate (DER); gives the cipher, and the envelope in pieces.

        `announced` holds, by certificate, the SMIMECapabilities in DER that its holder's mail announced last: they
        count more than the certificate's. The cipher is not weaker than `floor`, which is empty or one of CIPHERS.

        `on_piece` is called after each piece; what it raises ends the work. Raises CryptoError for a certificate
        that must not be encrypted to now, and OSError where the disk is full.
        """
        recipients = [usable(one) for one in certificates]
        if not recipients:
            raise CryptoError("nobody to encrypt to")
        known = (
            capabilities.announced(announced.get(one.certificate.data, b"")) or one.capabilities
            for one in recipients
        )
        cipher = chosen(known, self._cipher, floor)
        key = os.urandom(cipher.key_octets)
        infos = [_recipient_info(one, key, oaep=self._oaep) for one in recipients]
        content = Spool(self._directory)
        parameters, code = _encrypt(cipher, key, pieces, content, on_piece)
        return cipher, _written(cipher, infos, parameters, code, content)


def _encrypt(
    cipher: ContentCipher, key: bytes, pieces: Iterable[bytes], content: Spool, on_piece: Callable[[], None]
) -> tuple[bytes, bytes]:
    """Encrypt; gives the algorithm's parameters in DER, and its authentication code if it has one."""
    if cipher.authenticated:
        nonce = os.urandom(_NONCE)
        gcm = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        for piece in pieces:
            content.write(gcm.update(piece))
            on_piece()
        gcm.finalize()
        return der.sequence(der.octets(nonce), der.integer(_TAG)), gcm.tag
    start = os.urandom(_BLOCK)
    cbc = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    padder = padding.PKCS7(_BLOCK * 8).padder()
    for piece in pieces:
        content.write(cbc.update(padder.update(piece)))
        on_piece()
    content.write(cbc.update(padder.finalize()) + cbc.finalize())
    return der.octets(start), b""


def _written(
    cipher: ContentCipher, infos: Sequence[bytes], parameters: bytes, code: bytes, content: Spool
) -> Iterator[bytes]:
    """Write ContentInfo around what is encrypted, from the inside out: each head needs the size of its content."""
    mac = der.octets(code) if cipher.authenticated else b""
    before = der.head(0x80, content.size)
    algorithm = der.sequence(cipher.oid, parameters)
    encrypted = len(_DATA) + len(algorithm) + len(before) + content.size
    before = der.head(0x30, encrypted) + _DATA + algorithm + before
    # RFC 5652 section 6.1: version 0 only with plain key transport; RFC 5083 section 2.1: always 0
    plain = cipher.authenticated or all(info.startswith(b"\x30") for info in infos)
    before = der.integer(0 if plain else 2) + der.set_of(*infos) + before
    before = der.head(0x30, len(before) + content.size + len(mac)) + before
    before = der.head(0xA0, len(before) + content.size + len(mac)) + before
    kind = der.element(0x06, cms.AUTH_ENVELOPED if cipher.authenticated else cms.ENVELOPED)
    before = der.head(0x30, len(kind) + len(before) + content.size + len(mac)) + kind + before
    yield before
    yield from content.chunks()
    if mac:
        yield mac


def _recipient_info(recipient: Parsed, key: bytes, *, oaep: bool) -> bytes:
    """Write RecipientInfo: the content's key for one certificate."""
    name = der.sequence(recipient.issuer, recipient.serial)
    if isinstance(recipient.key, rsa.RSAPublicKey):
        algorithm = _OAEP if oaep else _RSA
        hidden = recipient.key.encrypt(key, _oaep() if oaep else PKCS1v15())
        return der.sequence(der.integer(0), name, algorithm, der.octets(hidden))
    if isinstance(recipient.key, ec.EllipticCurvePublicKey | x25519.X25519PublicKey):
        return _agreed(recipient.key, name, key)
    raise CryptoError(f"certificate {recipient.certificate.fingerprint}: its key cannot be encrypted to")


def _oaep() -> OAEP:
    return OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None)


def _agreed(public: ec.EllipticCurvePublicKey | x25519.X25519PublicKey, name: bytes, key: bytes) -> bytes:
    """Write KeyAgreeRecipientInfo (RFC 5652 section 6.2.2) with a key pair made for this message."""
    scheme, originator, secret = _exchanged(public)
    wrapping = agreement.wrapping_key(scheme, secret, _WRAP, _WRAP_OCTETS)
    hidden = der.octets(keywrap.aes_key_wrap(wrapping, key))
    keys = der.sequence(der.sequence(name, hidden))
    from_whom = der.explicit(0, der.explicit(1, originator))
    return der.explicit(1, der.integer(3) + from_whom + der.sequence(scheme, _WRAP) + keys)


def _exchanged(public: ec.EllipticCurvePublicKey | x25519.X25519PublicKey) -> tuple[bytes, bytes, bytes]:
    """Agree on a secret; gives the scheme, the parts of OriginatorPublicKey, and the secret."""
    if isinstance(public, x25519.X25519PublicKey):
        once = x25519.X25519PrivateKey.generate()
        try:
            secret = once.exchange(public)
        except ValueError:  # all zeros, of a point of small order: RFC 8418 section 2
            raise CryptoError("a certificate's X25519 key is none that can be agreed with") from None
        return agreement.HKDF_SHA256, _X25519_KEY + der.bits(once.public_key().public_bytes_raw()), secret
    pair = ec.generate_private_key(public.curve)
    point = pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return agreement.X963_SHA256, _EC_KEY + der.bits(point), pair.exchange(ec.ECDH(), public)
