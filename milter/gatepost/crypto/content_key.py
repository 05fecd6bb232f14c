"""
The key of an envelope's content, taken out of its RecipientInfo with a private key.

Key transport by RSA (RFC 5652 section 6.2.1; OAEP by RFC 8017 appendix A.2.1) and key agreement by elliptic
curves (RFC 5753, RFC 8418) with AES key wrap (RFC 3394). Recipients are named by issuer and serial number, or by
the certificate's key identifier.

Whatever fails while the key is taken out ends in a random key instead (RFC 3218 section 2.3.2), so that no
difference shows before the content does not decrypt: neither padding nor unwrapping can be asked about.
"""

import os
from collections.abc import Iterator, Sequence

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import keywrap

from gatepost.crypto import der
from gatepost.crypto.agreement import wrapping_key
from gatepost.crypto.ber import Element, tags
from gatepost.crypto.private_key import Oaep, PrivateKey
from gatepost.crypto.x509 import Parsed

_FAULTS = (ValueError, IndexError, KeyError, InvalidTag, UnsupportedAlgorithm, keywrap.InvalidUnwrap)
_INTEGER, _BITS, _OCTETS, _OID, _SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
_TRANSPORT, _AGREEMENT = 0x30, 0xA1  # RecipientInfo: plain, [1]
_KEY_IDENTIFIER, _RECIPIENT_KEY = 0x80, 0xA0  # [0], of key transport and of key agreement
_EXPLICIT = (0xA0, 0xA1, 0xA2)

_RSA = der.content(der.oid("1.2.840.113549.1.1.1"))
_OAEP = der.content(der.oid("1.2.840.113549.1.1.7"))
_SHA1 = der.content(der.oid("1.3.14.3.2.26"))
_HASHES = {
    der.content(der.oid(oid)): digest
    for oid, digest in (
        ("1.3.14.3.2.26", "sha1"),
        ("2.16.840.1.101.3.4.2.4", "sha224"),
        ("2.16.840.1.101.3.4.2.1", "sha256"),
        ("2.16.840.1.101.3.4.2.2", "sha384"),
        ("2.16.840.1.101.3.4.2.3", "sha512"),
    )
}
_WRAPS = {  # octets of the wrapping key
    der.content(der.oid("2.16.840.1.101.3.4.1.5")): 16,
    der.content(der.oid("2.16.840.1.101.3.4.1.25")): 24,
    der.content(der.oid("2.16.840.1.101.3.4.1.45")): 32,
}


def content_key(recipients: Sequence[Element], own: Parsed, private: PrivateKey, octets: int) -> bytes | None:
    """
    Take the content's key of so many octets out of the first RecipientInfo that names our certificate.

    None where none does; a random key where it cannot be taken out. Raises WorkerError where the private key
    cannot be reached: that is no fault of the message.
    """
    take = _transported if private.abilities.decrypt else _agreed
    for info in recipients:
        instead = os.urandom(octets)
        try:
            key = take(info, own, private)
        except _FAULTS:
            return instead
        if key is not None:
            return key if len(key) == octets else instead
    return None


def _transported(info: Element, own: Parsed, private: PrivateKey) -> bytes | None:
    """Read KeyTransRecipientInfo; None where it is another's."""
    if info.tag != _TRANSPORT or len(info.parts) != 4 or not _is_ours(info.parts[1], own):  # noqa: PLR2004 - its fields
        return None
    algorithm, hidden = info.parts[2:]
    name = bytes(algorithm.parts[0].octets)
    if name == _RSA:
        return private.decrypt(bytes(hidden.octets), None)
    if name != _OAEP:
        raise ValueError
    return private.decrypt(bytes(hidden.octets), _oaep(algorithm.parts[1:]))


def _oaep(parameters: Sequence[Element]) -> Oaep:
    """Read RSAES-OAEP-params: hash, mask generation and label, each with its default."""
    fields = {one.tag: one.parts[0] for one in (parameters[0].parts if parameters else ())}
    if not fields.keys() <= set(_EXPLICIT):
        raise ValueError
    digest, mask, label = (fields.get(tag) for tag in _EXPLICIT)
    hashed = _HASHES[bytes(digest.parts[0].octets) if digest else _SHA1]
    masked = _HASHES[bytes(mask.parts[1].parts[0].octets) if mask else _SHA1]
    return Oaep(hashed, masked, bytes(label.parts[1].octets) if label else b"")


def _agreed(info: Element, own: Parsed, private: PrivateKey) -> bytes | None:
    """Read KeyAgreeRecipientInfo; None where no key in it is ours."""
    if info.tag != _AGREEMENT:
        return None
    *head, keys = info.parts
    hidden = next(_keys_of(keys.parts, own), None)
    if hidden is None:
        return None
    material = b""
    if tags(tuple(head)) == (_INTEGER, _EXPLICIT[0], _EXPLICIT[1], _SEQUENCE):
        material = bytes(head.pop(2).parts[0].octets)
    if tags(tuple(head)) != (_INTEGER, _EXPLICIT[0], _SEQUENCE):
        raise ValueError
    _, originator, algorithm = head
    name, wrap = algorithm.parts
    size = _WRAPS[bytes(wrap.parts[0].octets)]
    secret = private.exchange(_point(originator))
    wrapping = wrapping_key(name.whole, secret, wrap.whole, size, material)
    return keywrap.aes_key_unwrap(wrapping, hidden)


def _keys_of(keys: Sequence[Element], own: Parsed) -> Iterator[bytes]:
    """Find our own among RecipientEncryptedKeys."""
    for one in keys:
        if len(one.parts) == 2 and _is_ours(one.parts[0], own):  # noqa: PLR2004 - its fields
            yield bytes(one.parts[1].octets)


def _point(originator: Element) -> bytes:
    """Read the point out of an OriginatorPublicKey, the one kind that is for one message only."""
    (key,) = originator.parts
    if key.tag != _EXPLICIT[1] or tags(key.parts) != (_SEQUENCE, _BITS) or key.parts[1].octets[0] != 0:
        raise ValueError
    return bytes(key.parts[1].octets[1:])


def _is_ours(identifier: Element, own: Parsed) -> bool:
    """Tell whether a RecipientIdentifier names our certificate."""
    if identifier.tag == _KEY_IDENTIFIER:
        return identifier.octets == own.key_identifier
    if identifier.tag == _RECIPIENT_KEY:
        return bool(identifier.parts) and identifier.parts[0].octets == own.key_identifier
    return tuple(one.whole for one in identifier.parts) == (own.issuer, own.serial)
