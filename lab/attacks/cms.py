"""
CMS, written so that each part can be taken, changed and put back (RFC 5652, RFC 5083).

What is encrypted or signed is so in truth, with the keys of lab.attacks.people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.attacks import der
from lab.attacks.chance import Chance
from lab.attacks.people import certificate, private_key

DATA = "1.2.840.113549.1.7.1"
_SIGNED, _ENVELOPED = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3"
_AUTH_ENVELOPED = "1.2.840.113549.1.9.16.1.23"
_NULL = b"\x05\x00"
_SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), _NULL)
_RSA = der.sequence(der.oid("1.2.840.113549.1.1.1"), _NULL)
_WRAP = der.sequence(der.oid("2.16.840.1.101.3.4.1.45"))
_CIPHERS = {  # the last number of the OID, and the octets of the key
    "aes128-cbc": (2, 16),
    "aes192-cbc": (22, 24),
    "aes256-cbc": (42, 32),
    "aes128-gcm": (6, 16),
    "aes256-gcm": (46, 32),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """An encrypted message in its parts: RecipientInfos, cipher, initialisation vector, ciphertext, GCM's code."""

    infos: tuple[bytes, ...]
    cipher: str
    start: bytes
    content: bytes
    code: bytes = b""

    def der(self) -> bytes:
        """Write it in DER."""
        info = der.sequence(der.oid(DATA), self._algorithm(), der.element(0x80, self.content))
        kind, parts = self._around(info)
        return der.sequence(der.oid(kind), der.element(0xA0, der.sequence(*parts)))

    def ber(self, size: int = 100) -> bytes:
        """Write it as programs do that stream: indefinite lengths, the ciphertext in pieces."""
        pieces = [self.content[place : place + size] for place in range(0, len(self.content), size)]
        content = der.endless(0xA0, *map(der.octets, pieces))
        info = der.endless(0x30, der.oid(DATA), self._algorithm(), content)
        kind, parts = self._around(info)
        return der.endless(0x30, der.oid(kind), der.endless(0xA0, der.endless(0x30, *parts)))

    def _algorithm(self) -> bytes:
        parameters = der.octets(self.start)
        if self.code:
            parameters = der.sequence(parameters, der.integer(len(self.code)))
        return der.sequence(der.oid(f"2.16.840.1.101.3.4.1.{_CIPHERS[self.cipher][0]}"), parameters)

    def _around(self, info: bytes) -> tuple[str, tuple[bytes, ...]]:
        recipients = der.set_of(*self.infos)
        if self.code:
            return _AUTH_ENVELOPED, (der.integer(0), recipients, info, der.octets(self.code))
        return _ENVELOPED, (der.integer(2), recipients, info)


def envelope(chance: Chance, content: bytes, cipher: str, *names: str, key_id: bool = False) -> Envelope:
    """Encrypt content to people's certificates, named by issuer and serial number or by key identifier."""
    key = chance.octets(_CIPHERS[cipher][1])
    infos = tuple(_recipient(chance, name, key, key_id=key_id) for name in names)
    if cipher.endswith("gcm"):
        start = chance.octets(12)
        gcm = Cipher(algorithms.AES(key), modes.GCM(start)).encryptor()
        return Envelope(infos, cipher, start, gcm.update(content) + gcm.finalize(), gcm.tag)
    start, fill = chance.octets(16), 16 - len(content) % 16
    cbc = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    return Envelope(infos, cipher, start, cbc.update(content + bytes([fill]) * fill) + cbc.finalize())


def _recipient(chance: Chance, name: str, key: bytes, *, key_id: bool) -> bytes:
    one = certificate(name)
    public = one.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        padded = int.from_bytes(chance.padded(key, public.key_size // 8), "big")
        hidden = pow(padded, numbers.e, numbers.n).to_bytes(public.key_size // 8, "big")
        whom = der.element(0x80, identifier(one)) if key_id else issuer_and_serial(one)
        return der.sequence(der.integer(2 if key_id else 0), whom, _RSA, der.octets(hidden))
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise TypeError(f"nothing is encrypted to the key of {name}")
    ephemeral = ec.derive_private_key(int.from_bytes(chance.octets(31), "big"), public.curve)
    shared = der.sequence(_WRAP, der.element(0xA2, der.octets((256).to_bytes(4, "big"))))
    wrapping = X963KDF(hashes.SHA256(), 32, shared).derive(ephemeral.exchange(ec.ECDH(), public))
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    originator = der.element(0xA1, der.sequence(der.oid("1.2.840.10045.2.1")), der.element(0x03, b"\0", point))
    scheme = der.sequence(der.oid("1.3.132.1.11.1"), _WRAP)
    whom = der.element(0xA0, der.octets(identifier(one))) if key_id else issuer_and_serial(one)
    keys = der.sequence(der.sequence(whom, der.octets(keywrap.aes_key_wrap(wrapping, key))))
    return der.element(0xA1, der.integer(3), der.element(0xA0, originator), scheme, keys)


def signer_info(name: str, content: bytes, *, attributes: bool = True, kind: str = DATA) -> bytes:
    """Write SignerInfo: somebody's signature of content, over signed attributes or, without them, over itself."""
    key = private_key(name)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"nothing is signed with the key of {name}")
    head = (der.integer(1), issuer_and_serial(certificate(name)), _SHA256)
    if not attributes:
        signature = der.octets(key.sign(content, PKCS1v15(), hashes.SHA256()))
        return der.sequence(*head, _RSA, signature)
    signed = signed_attributes(content, kind)
    signature = der.octets(key.sign(signed, PKCS1v15(), hashes.SHA256()))
    return der.sequence(*head, b"\xa0" + signed[1:], _RSA, signature)


def signed_attributes(content: bytes, kind: str = DATA) -> bytes:
    """Write what is signed in the place of content: SET OF content type, time and digest."""
    return der.set_of(
        der.sequence(der.oid("1.2.840.113549.1.9.3"), der.set_of(der.oid(kind))),
        der.sequence(der.oid("1.2.840.113549.1.9.5"), der.set_of(der.element(0x17, b"240102000000Z"))),
        der.sequence(der.oid("1.2.840.113549.1.9.4"), der.set_of(der.octets(sha256(content).digest()))),
    )


def signed_data(
    infos: Sequence[bytes], content: bytes | None, *names: str, kind: str = DATA, pieces: bool = False
) -> bytes:
    """
    Write SignedData: SignerInfos, the content if it stands inside, and people's certificates.

    `pieces`: the content is a constructed OCTET STRING, as in BER.
    """
    inside = b""
    if content is not None:
        half = len(content) // 2
        parted = der.element(0x24, der.octets(content[:half]), der.octets(content[half:]))
        inside = der.element(0xA0, parted if pieces else der.octets(content))
    certificates = sorted(certificate(name).public_bytes(Encoding.DER) for name in names)
    beside = der.element(0xA0, *certificates) if names else b""
    digests = der.set_of(_SHA256) if infos else der.set_of()
    info = der.sequence(der.oid(kind), inside)
    version = der.integer(1 if kind == DATA else 3)
    whole = der.sequence(version, digests, info, beside, der.set_of(*infos))
    return der.sequence(der.oid(_SIGNED), der.element(0xA0, whole))


def signed(name: str, content: bytes, *, inside: bool) -> bytes:
    """Write content signed by somebody, as mail programs do, opaque or detached."""
    return signed_data([signer_info(name, content)], content if inside else None, name)


def issuer_and_serial(one: x509.Certificate) -> bytes:
    """Write IssuerAndSerialNumber."""
    return der.sequence(one.issuer.public_bytes(), der.integer(one.serial_number))


def identifier(one: x509.Certificate) -> bytes:
    """Give a certificate's key identifier."""
    return one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
