"""
What is encrypted comes back as it was, whatever it is, to whatever keys; what was changed comes back as nothing.
"""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.letter import multipart, part

from gatepost.crypto import pgpmime
from gatepost.crypto.envelope import CIPHERS, Enveloper
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.openpgp import UNDECRYPTABLE
from gatepost.crypto.smime import Smime
from gatepost.errors import CryptoError
from gatepost.message.body import MemoryBody

KINDS = ("rsa2048", "rsa3072", "secp256r1", "secp384r1", "secp521r1")
CURVES = {"secp256r1": ec.SECP256R1, "secp384r1": ec.SECP384R1, "secp521r1": ec.SECP521R1}
WAYS = [(cipher, oaep) for cipher in sorted(CIPHERS) for oaep in (False, True)]


@cache
def made(kind: str, number: int) -> tuple[bytes, bytes]:
    """Make a certificate of a kind, in DER, and what the key worker keeps of its private half."""
    bits = kind.removeprefix("rsa")
    key = ec.generate_private_key(CURVES[kind]()) if kind in CURVES else rsa.generate_private_key(65537, int(bits))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{kind} {number}")])
    now = datetime.now(UTC)
    starts, ends = now - timedelta(1), now + timedelta(1)
    public = key.public_key()
    builder = x509.CertificateBuilder(name, name, public, x509.random_serial_number(), starts, ends)
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    one = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return one, one + key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


_TOKEN = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
_LINES = st.lists(st.binary(max_size=90), max_size=6).map(
    lambda lines: b"".join(line.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" for line in lines)
)
_FIELDS = st.lists(_TOKEN.map(lambda word: f"Content-{word.title()}: {word};\r\n {word}"), max_size=3)
_LEAVES = st.one_of(
    st.builds(lambda lines: b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + lines, _LINES),
    st.builds(lambda words, fields: part(words, "application/pdf", *fields), st.binary(max_size=400), _FIELDS),
    st.builds(lambda lines: b"Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + lines, _LINES),
)
_numbers = itertools.count()


def _joined(kind: str, parts: Sequence[bytes]) -> bytes:
    line, body = multipart(kind, *parts, boundary=f"=b{next(_numbers)}=")
    return line.encode() + b"\r\n\r\n" + body


_ENTITIES = st.recursive(
    _LEAVES,
    lambda inner: st.builds(
        _joined, st.sampled_from(("mixed", "alternative", "related")), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(
    _ENTITIES,
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True),
    st.sampled_from(WAYS),
    st.integers(1, 500),
)
def test_any_mail_to_any_keys(entity: bytes, kinds: list[str], way: tuple[str, bool], size: int) -> None:
    """A message of any structure, encrypted to any keys in any way, opens for each of them to the same octets."""
    cipher, oaep = way
    pieces = [entity[place : place + size] for place in range(0, len(entity), size)]
    certificates = [made(kind, 0)[0] for kind in kinds]
    fields, body = Smime(Enveloper(cipher=cipher, oaep=oaep)).enclose(pieces, certificates, lambda: None)
    data = pgpmime.ciphertext(fields, body, inline=False)

    assert data is not None
    for kind in kinds:
        plain, intact = opened(data, kind)
        assert plain == entity
        assert intact is CIPHERS[cipher].authenticated
        inner, content = pgpmime.open_entity(MemoryBody(plain))
        assert b"".join(field.wire() for field in inner) + b"\r\n" + content.read() == entity


def opened(data: bytes, kind: str) -> tuple[bytes, bool]:
    """Open as the key worker does; raises CryptoError, leaving nothing behind and telling nothing."""
    target = BytesIO(b"what stood here before")
    try:
        done = SmimeDecryptor().decrypt(BytesIO(data), target, made(kind, 0)[1], [], most=1 << 24)
    except CryptoError as error:
        left = (str(error), error.__cause__, target.getvalue())
        if left != (UNDECRYPTABLE, None, b""):
            raise AssertionError(left) from None
        raise
    return target.getvalue(), done.intact


PLAIN = b"Content-Type: text/plain\r\n\r\n" + b"every word of this is secret. " * 40


@cache
def sealed(cipher: str, kind: str, number: int) -> bytes:
    """Encrypt the same content; another number gives another message."""
    certificates = [made(kind, other)[0] for other in (1, 0)]
    plain = PLAIN.replace(b"secret", b"secre%d" % number)
    return b"".join(Enveloper(cipher=cipher).envelop([plain], certificates, lambda: None)[1])


def _spliced(data: st.DataObject, message: bytes, other: bytes) -> bytes:
    """Cut, repeat, exchange, overwrite, or take octets from another message."""
    one, two = sorted((data.draw(st.integers(0, len(message))), data.draw(st.integers(0, len(message)))))
    middle = (one + two) // 2
    return data.draw(
        st.sampled_from(
            (
                message[:one] + message[two:],
                message[:two] + message[one:],
                message[:one] + message[middle:two] + message[one:middle] + message[two:],
                message[:one] + bytes(two - one) + message[two:],
                message[:one] + other[one:two] + message[two:],
                message[:one] + other[one:],
                message[:one] + bytes([message[one - 1] ^ 0x20]) + message[one:][1:],
            )
        )
    )


@settings(max_examples=200)
@given(st.data(), st.sampled_from(sorted(CIPHERS)), st.sampled_from(("rsa2048", "secp256r1")))
def test_what_was_changed(data: st.DataObject, cipher: str, kind: str) -> None:
    """Proved content opens whole or not at all; nothing fails in another way, or leaves a part of it."""
    message, other = sealed(cipher, kind, 1), sealed(cipher, kind, 2)
    changed = _spliced(data, message, other)
    with suppress(CryptoError):
        plain, intact = opened(changed, kind)
        assert intact is CIPHERS[cipher].authenticated
        if intact:
            assert plain in {PLAIN.replace(b"secret", b"secre1"), PLAIN.replace(b"secret", b"secre2")}


@pytest.mark.parametrize("cipher", [name for name, one in sorted(CIPHERS.items()) if one.authenticated])
@pytest.mark.parametrize("kind", ["rsa2048", "secp256r1"])
def test_every_octet_counts(cipher: str, kind: str) -> None:
    """Of what is proved no octet can be changed, nor can one of its code or of the nonce."""
    message = sealed(cipher, kind, 1)
    assert opened(message, kind) == (PLAIN.replace(b"secret", b"secre1"), True)
    content = len(message) - len(PLAIN) - 19
    nonce = message.rindex(b"\x04\x0c", 0, content) + 2
    for place in (*range(nonce, nonce + 12), *range(content + 1, len(message), 7), *range(-16, 0)):
        changed = bytearray(message)
        changed[place] ^= 1
        with pytest.raises(CryptoError):
            opened(bytes(changed), kind)
