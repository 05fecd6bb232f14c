"""
CMS envelopes, written: content encrypted once, and its key to each recipient's certificate.

EnvelopedData with AES in CBC mode (RFC 5652 section 6, RFC 3565), which every mail program reads, or
AuthEnvelopedData with AES in GCM mode (RFC 5083, RFC 5084), which protects the content against changes. The key
goes to RSA by key transport (RFC 5652 section 6.2.1; OAEP by RFC 3560) and to elliptic curves by ephemeral-static
Diffie-Hellman (RFC 5753 section 3.1.1) with SHA-256 and AES-256 key wrap.

Everything has a definite length, so the ciphertext is gathered before the envelope is put around it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, keywrap, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.crypto import capabilities, cms, der
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
_WRAP = der.sequence(der.oid("2.16.840.1.101.3.4.1.45"))  # aes256-wrap
_ECDH = der.sequence(der.oid("1.3.132.1.11.1"), _WRAP)  # dhSinglePass-stdDH-sha256kdf-scheme
_WRAP_BITS = 256
_BLOCK = 16
_TAG = 16
_NONCE = 12


@dataclass(frozen=True, slots=True)
class Correspondent:
    """
    Whom an envelope is for: a certificate, in DER, and the SMIMECapabilities, in DER, that its holder's mail
    announced last; without them those of the certificate count.
    """

    certificate: bytes
    capabilities: bytes = b""


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
        correspondents: Sequence[Correspondent],
        on_piece: Callable[[], None],
        *,
        floor: str = "",
    ) -> tuple[ContentCipher, Iterator[bytes]]:
        """
        Encrypt content in pieces to every correspondent; gives the cipher, and the envelope in pieces.

        The cipher is not weaker than `floor`, which is empty or one of CIPHERS.

        `on_piece` is called after each piece; what it raises ends the work. Raises CryptoError for a certificate
        that must not be encrypted to now, and OSError where the disk is full.
        """
        recipients = [usable(one.certificate) for one in correspondents]
        if not recipients:
            raise CryptoError("nobody to encrypt to")
        announced = (
            capabilities.announced(one.capabilities) or recipient.capabilities
            for one, recipient in zip(correspondents, recipients, strict=True)
        )
        cipher = chosen(announced, self._cipher, floor)
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
    if isinstance(recipient.key, ec.EllipticCurvePublicKey):
        return _agreed(recipient.key, name, key)
    raise CryptoError(f"certificate {recipient.certificate.fingerprint}: its key cannot be encrypted to")


def _oaep() -> OAEP:
    return OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None)


def _agreed(public: ec.EllipticCurvePublicKey, name: bytes, key: bytes) -> bytes:
    """Write KeyAgreeRecipientInfo (RFC 5652 section 6.2.2) with a key pair made for this message."""
    ephemeral = ec.generate_private_key(public.curve)
    shared = der.sequence(
        _WRAP, der.explicit(2, der.octets(_WRAP_BITS.to_bytes(4, "big")))
    )  # RFC 5753 section 7.2
    secret = ephemeral.exchange(ec.ECDH(), public)
    wrapping = X963KDF(hashes.SHA256(), _WRAP_BITS // 8, shared).derive(secret)
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    originator = der.explicit(0, der.explicit(1, _EC_KEY + der.bits(point)))
    hidden = der.octets(keywrap.aes_key_wrap(wrapping, key))
    return der.explicit(1, der.integer(3) + originator + _ECDH + der.sequence(der.sequence(name, hidden)))
