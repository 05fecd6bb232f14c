"""
CMS envelopes, opened with one private key and its certificate; lives only in the key worker.

EnvelopedData with AES in CBC mode, or triple DES where that is allowed (RFC 5652 section 6), and AuthEnvelopedData
with AES in GCM mode (RFC 5083, RFC 5084), in DER and in BER.

Rules:
  * Anything that does not open is refused with one text, whatever the reason, after the same steps.
  * GCM proves the content; what was written before its code was checked is taken back if it is wrong. CBC proves
    nothing: `intact` of what it gives is false.
  * GCM stands in AuthEnvelopedData only, CBC in EnvelopedData only: one is never read as the other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from gatepost.crypto import cms, der
from gatepost.crypto.ber import Element, tags
from gatepost.crypto.cms import Envelope
from gatepost.crypto.content_key import content_key
from gatepost.crypto.openpgp import UNDECRYPTABLE, Decrypted, Verification
from gatepost.crypto.private_key import Load, load
from gatepost.errors import CryptoError

Write = Callable[[bytes], object]

_FAULTS = (ValueError, IndexError, InvalidTag, CryptoError)
_CHUNK = 1 << 16  # octets: what is decrypted, digested and written at a time stays in the processor's cache
_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_CODE_SIZES = range(12, 17)  # RFC 5084 section 3.2
_DEFAULT_CODE = 12


@dataclass(frozen=True, slots=True)
class _Content:
    """A content cipher: the octets of its key and of its block, whether it proves the content, how it is made."""

    key_octets: int
    block: int
    proves: bool
    algorithm: Callable[[bytes], algorithms.AES | TripleDES] = algorithms.AES


_CIPHERS = {
    der.content(der.oid(f"2.16.840.1.101.3.4.1.{number}")): _Content(octets, 16, proves)
    for number, octets, proves in (
        (2, 16, False),
        (22, 24, False),
        (42, 32, False),
        (6, 16, True),
        (26, 24, True),
        (46, 32, True),
    )
}
_TRIPLE_DES = {der.content(der.oid("1.2.840.113549.3.7")): _Content(24, 8, proves=False, algorithm=TripleDES)}


class SmimeDecryptor:
    """Implements Decryptor for CMS. Thread-safe."""

    def __init__(self, *, triple_des: bool = False, load: Load = load) -> None:
        """Take whether triple DES is opened, and what reads the private keys."""
        self._load = load
        self._ciphers = _CIPHERS | (_TRIPLE_DES if triple_des else {})

    def decrypt(
        self,
        source: IO[bytes],
        target: IO[bytes],
        private: bytes,
        signers: Sequence[bytes],  # noqa: ARG002 - the port's; signatures in CMS are not verified here
        *,
        most: int,
    ) -> Decrypted:
        """
        Decrypt one file into another; `private` is what the key table keeps.

        Raises CryptoError, always the same text, for anything that does not decrypt whole, or to more than `most`
        octets; OSError where the disk is full; WorkerError where the private key cannot be reached.
        """
        source.seek(0)
        target.seek(0)
        target.truncate()
        try:
            return self._decrypt(_mapped(source), target, private, most)
        except _FAULTS:
            target.seek(0)
            target.truncate()
            raise CryptoError(UNDECRYPTABLE) from None

    def _decrypt(self, data: bytes | mmap, target: IO[bytes], private: bytes, most: int) -> Decrypted:
        own, key = self._load(private)
        envelope = cms.envelope(data)
        if envelope is None or sum(map(len, envelope.content)) > most:
            raise ValueError
        name, *parameters = envelope.algorithm.parts
        cipher = self._ciphers.get(bytes(name.octets))
        if cipher is None or cipher.proves != (envelope.code is not None) or len(parameters) != 1:
            raise ValueError
        secret = content_key(envelope.recipients, own, key, cipher.key_octets)
        if secret is None:
            raise ValueError
        (_proved if cipher.proves else _unproved)(cipher, secret, parameters[0], envelope, target.write)
        target.flush()
        # The content's key settles what an envelope gives: its digest tells two apart, and costs nothing
        return Decrypted(sha256(secret).digest(), Verification("none"), intact=cipher.proves)


def _mapped(source: IO[bytes]) -> bytes | mmap:
    """
    Give a file's octets without taking them all into memory; reads what is no file, or an empty one.

    Whoever hands the file over must not cut it meanwhile: that would end this process (mmap(2), SIGBUS).
    """
    try:
        return mmap(source.fileno(), 0, access=ACCESS_READ)
    except (OSError, ValueError):
        return source.read()


def _proved(cipher: _Content, secret: bytes, parameters: Element, envelope: Envelope, write: Write) -> None:
    """Decrypt by GCM; raises InvalidTag."""
    code = envelope.code or b""
    if parameters.tag != _SEQUENCE or tags(parameters.parts) not in {(_OCTETS,), (_OCTETS, _INTEGER)}:
        raise ValueError
    nonce, *size = (bytes(one.octets) for one in parameters.parts)
    expected = int.from_bytes(size[0], "big") if size else _DEFAULT_CODE
    if len(code) != expected or expected not in _CODE_SIZES:
        raise ValueError
    mode = modes.GCM(nonce, code, min_tag_length=_CODE_SIZES.start)
    context = Cipher(cipher.algorithm(secret), mode).decryptor()
    context.authenticate_additional_data(envelope.attributes)
    _updated(context, envelope, write)
    write(context.finalize())


def _unproved(cipher: _Content, secret: bytes, parameters: Element, envelope: Envelope, write: Write) -> None:
    """Decrypt by CBC; raises ValueError for wrong padding."""
    context = Cipher(cipher.algorithm(secret), modes.CBC(bytes(parameters.octets))).decryptor()
    unpadder = padding.PKCS7(cipher.block * 8).unpadder()
    _updated(context, envelope, lambda piece: write(unpadder.update(piece)))
    write(unpadder.update(context.finalize()) + unpadder.finalize())


def _updated(context: CipherContext, envelope: Envelope, write: Write) -> None:
    for chunk in _chunks(envelope.content):
        write(context.update(chunk))


def _chunks(pieces: Sequence[memoryview]) -> Iterator[bytes | memoryview]:
    """Cut large pieces up, and put small ones together: writers that stream make them of about 1000 octets."""
    held: list[memoryview] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > _CHUNK and held:
            yield b"".join(held)
            held, size = [], 0
        if len(piece) > _CHUNK:
            for start in range(0, len(piece), _CHUNK):
                yield piece[start : start + _CHUNK]
        else:
            held.append(piece)
            size += len(piece)
    if held:
        yield b"".join(held)
