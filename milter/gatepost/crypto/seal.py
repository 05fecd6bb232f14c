"""
Sealing: what is kept at rest, encrypted so that whoever writes it cannot read it later.

Every blob has a random key of its own, its data key. The blob is AES-256-GCM in segments (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár); the data key is wrapped to a public key by HPKE
(RFC 9180).

A sealed blob: `GPS1`, 32 octets of salt, 7 of nonce prefix, then segments of 64 KiB (the last one may be
shorter) with a tag of 16 octets each. The segments' key is HKDF-SHA256 of the data key, the salt and the
context, so a blob opens only under its own name; a nonce is prefix, counter (4 octets) and 1 for the last
segment, else 0, so segments can be neither moved, cut off nor added.

Nothing of a segment is given out before its tag was checked. A reader may therefore have seen good segments when a
later one fails: it must throw them away on CryptoError.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gatepost.errors import CryptoError

KEY_SIZE = 32
SEGMENT = 1 << 16

_MAGIC = b"GPS1"
_SALT = 32
_PREFIX = 7
_HEAD = len(_MAGIC) + _SALT + _PREFIX
_TAG = 16
_MAX_SEGMENTS = 1 << 32

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_key() -> bytes:
    """Make a data key: 32 random octets, for one blob only."""
    return os.urandom(KEY_SIZE)


def new_pair() -> tuple[bytes, bytes]:
    """Make a pair for wrapping: private and public half, 32 octets each, raw X25519 (RFC 7748)."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def public_half(private: bytes) -> bytes:
    """Give the public half that belongs to a private one, both raw; raises CryptoError."""
    return _private_key(private).public_key().public_bytes_raw()


def wrap(public: bytes, secret: bytes, context: bytes) -> bytes:
    """
    Encrypt a short secret to a raw X25519 public key; opens only under the same context.

    Raises CryptoError for a public key that is none.
    """
    try:
        key = X25519PublicKey.from_public_bytes(public)
        return _SUITE.encrypt(secret, key, info=context)
    except ValueError as error:
        raise CryptoError("the public key for wrapping is not a usable X25519 key") from error


def unwrap(private: bytes, wrapped: bytes, context: bytes) -> bytes:
    """Decrypt what `wrap` made; raises CryptoError, always the same text, for anything else."""
    key = _private_key(private)
    try:
        return _SUITE.decrypt(wrapped, key, info=context)
    except (InvalidTag, ValueError) as error:
        raise CryptoError("the wrapped key does not open: wrong key, wrong context, or damaged") from error


def unwrap_any(privates: Sequence[bytes], wrapped: bytes, context: bytes) -> bytes:
    """Decrypt what `wrap` made for one of several pairs, the likeliest first; raises as `unwrap` does."""
    for private in privates[:-1]:
        with suppress(CryptoError):
            return unwrap(private, wrapped, context)
    return unwrap(privates[-1], wrapped, context)


def seal(source: Iterable[bytes], key: bytes, context: bytes) -> Iterator[bytes]:
    """Seal a stream of any pieces under a data key that is used for nothing else; gives the blob in pieces."""
    salt, prefix = os.urandom(_SALT), os.urandom(_PREFIX)
    cipher = _cipher(key, salt, context)
    yield _MAGIC + salt + prefix
    for counter, (segment, last) in enumerate(_segments(source, SEGMENT)):
        yield cipher.encrypt(_nonce(prefix, counter, last=last), segment, None)


def open_sealed(chunks: Iterable[bytes], key: bytes, context: bytes) -> Iterator[bytes]:
    """
    Open a sealed blob that comes in any pieces.

    Raises CryptoError where anything was changed, moved, cut off or added, and for a wrong key or context.
    """
    pieces = iter(chunks)
    head, rest = _split_head(pieces)
    prefix = head[len(_MAGIC) + _SALT :]
    cipher = _cipher(key, head[len(_MAGIC) : len(_MAGIC) + _SALT], context)
    for counter, (segment, last) in enumerate(_segments(_joined(rest, pieces), SEGMENT + _TAG)):
        try:
            yield cipher.decrypt(_nonce(prefix, counter, last=last), segment, None)
        except (InvalidTag, ValueError) as error:
            raise CryptoError("the sealed blob does not open: wrong key or name, or damaged") from error


def _cipher(key: bytes, salt: bytes, context: bytes) -> AESGCM:
    if len(key) != KEY_SIZE:
        raise CryptoError(f"a data key is {KEY_SIZE} octets long, not {len(key)}")
    derivation = HKDF(algorithm=hashes.SHA256(), length=KEY_SIZE, salt=salt, info=_MAGIC + context)
    return AESGCM(derivation.derive(key))


def _nonce(prefix: bytes, counter: int, *, last: bool) -> bytes:
    if counter >= _MAX_SEGMENTS:
        raise CryptoError("the content is too long to be sealed as one blob")
    return prefix + counter.to_bytes(4, "big") + bytes((last,))


def _segments(source: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Cut a stream into segments of `size`, telling the last; an empty stream is one empty segment."""
    held = bytearray()
    for piece in source:
        held += piece
        while len(held) > size:
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True


def _split_head(pieces: Iterator[bytes]) -> tuple[bytes, bytes]:
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= _HEAD:
            break
    if len(start) < _HEAD or not start.startswith(_MAGIC):
        raise CryptoError("this is no sealed blob, or its beginning is missing")
    return start[:_HEAD], start[_HEAD:]


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _private_key(private: bytes) -> X25519PrivateKey:
    try:
        return X25519PrivateKey.from_private_bytes(private)
    except ValueError as error:
        raise CryptoError("the private key for unwrapping is not 32 octets of X25519") from error
