"""
The names of an encrypted message's parts that carry its key, by which it is known again.

Whoever captures a message can wrap it anew: other armor, other packet lengths, another key ID, other recipients
beside ours, other copies of the same number. None of that changes a name:
  * OpenPGP (RFC 9580 section 5.1): of a session key packet only what the algorithm itself wrote counts, an RSA
    number without zeros before it; not the packet's version nor whom it names.
  * CMS (RFC 5652 section 6.2): only the encrypted key of a RecipientInfo counts, not whom it names.
  * Of a key agreement, in either, only the wrapped key counts: other ephemeral points than the one that was sent
    give the same secret (its negative; on curve 25519 any that differs in the top bit or by a point of low order).
  * The encrypted content has a name too. Where integrity is proved, nobody without the key can change it; it keeps
    a message known whose session key packet can be written anew without the key (ElGamal), or to whose number the
    modulus may be added (RSA in gpg).
"""

import hashlib
from collections.abc import Iterable, Iterator

from gatepost.crypto import cms, packets
from gatepost.crypto.ber import Element

_RSA = frozenset({1, 2})
_ECDH = 18
_FIXED_POINTS = {25: 32, 26: 56}  # X25519 and X448: octets of the ephemeral point
_KEY_ID_OCTETS = 8
_SALTED = 10  # octets of a packet for a passphrase that has room for a salt; others are alike in many messages
_LATEST = 6  # version of a packet that names its key by fingerprint
_AGREEMENT = 0xA1


def names(ciphertext: bytes) -> tuple[bytes, ...]:
    """
    Name the content (first) and the key exchanges of an encrypted message, OpenPGP or CMS, by SHA-256.

    Nothing for what is no encrypted message.
    """
    envelope = cms.envelope(ciphertext)
    if envelope is not None:
        content: Iterable[bytes | memoryview] = envelope.content
        keys = (key for info in envelope.recipients for key in _encrypted_keys(info) if key)
    else:
        binary = packets.dearmor(ciphertext)
        if binary is None or not packets.is_encrypted_message(binary):
            return ()
        found = tuple(packets.walk(binary))
        content = next(pieces for tag, pieces in found if tag in packets.PROTECTED)
        keys = (key for tag, pieces in found if (key := _session_key(tag, b"".join(pieces))))
    return tuple(dict.fromkeys((_name(b"content", content), *(_name(b"key", (key,)) for key in keys))))


def _name(kind: bytes, pieces: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256(b"gatepost " + kind + b"\0")
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _encrypted_keys(info: Element) -> Iterator[bytes]:
    """Give the encrypted keys of a RecipientInfo: the last field, of key agreement the last one of each key."""
    if not info.parts:
        return
    last = info.parts[-1]
    for one in last.parts if info.tag == _AGREEMENT else (info,):
        if one.parts:
            yield bytes(one.parts[-1].octets).lstrip(b"\0")


def _session_key(tag: int, body: bytes) -> bytes:
    """Give what the algorithm wrote into a session key packet; nothing for other packets."""
    if tag == packets.SKESK:
        return body[2:] if len(body) > _SALTED else b""  # behind version and cipher
    if tag != packets.PKESK or not body:
        return b""
    named = body[1] if body[0] == _LATEST and len(body) > 1 else _KEY_ID_OCTETS
    start = (2 if body[0] == _LATEST else 1) + named
    algorithm, written = body[start : start + 1], body[start + 1 :]
    kind = algorithm[0] if algorithm else 0
    if kind in _RSA:
        return _number(written)[0].lstrip(b"\0")
    if kind == _ECDH:
        return _counted(_number(written)[1])
    if kind in _FIXED_POINTS:
        wrapped = _counted(written[_FIXED_POINTS[kind] :])
        return wrapped if body[0] == _LATEST else wrapped[1:]  # an octet names the cipher before it
    return written


def _number(data: bytes) -> tuple[bytes, bytes]:
    """Take a number (section 3.2) from the front: its octets, and what stands behind it."""
    end = 2 + (int.from_bytes(data[:2], "big") + 7) // 8
    return data[2:end], data[end:]


def _counted(data: bytes) -> bytes:
    """Give what stands behind an octet that counts it."""
    return data[1 : 1 + data[0]] if data else b""
