"""The names of key exchanges: whoever wraps a captured message anew does not change them."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import der, key_exchange, packets

OCTETS = st.binary(min_size=24, max_size=60).map(lambda data: b"\1" + data)
_RSA, _ELGAMAL, _ECDH, _X25519, _X448 = 1, 16, 18, 25, 26


def number(data: bytes) -> bytes:
    """Write a number as OpenPGP does, with whatever zeros stand before it."""
    bits = len(data) * 8
    return bits.to_bytes(2) + data


def pkesk(algorithm: int, data: bytes, *, key_id: bytes = b"\1" * 8, version: int = 3) -> bytes:
    named = key_id if version < 6 else bytes([21, 4]) + b"\2" * 20
    return bytes([version]) + named + bytes([algorithm]) + data


def new(tag: int, body: bytes) -> bytes:
    """Write a packet with a length of five octets."""
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def old(tag: int, body: bytes) -> bytes:
    """Write a packet in the old format."""
    return bytes([0x80 | tag << 2 | 2]) + len(body).to_bytes(4) + body


def partial(tag: int, body: bytes) -> bytes:
    """Write a packet in pieces of partial lengths."""
    found = bytes([0xC0 | tag])
    while len(body) > 16:
        found += bytes([0xE4]) + body[:16]
        body = body[16:]
    return found + bytes([len(body)]) + body


def sealed(content: bytes) -> bytes:
    return b"\1" + content


def openpgp(*keys: bytes, content: bytes, write: Callable[[int, bytes], bytes] = new) -> bytes:
    return b"".join([*(write(1, key) for key in keys), partial(18, sealed(content))])


def armored(data: bytes) -> bytes:
    return (
        b"-----BEGIN PGP MESSAGE-----\nComment: mine\n\n"
        + base64.encodebytes(data)
        + b"-----END PGP MESSAGE-----\n"
    )


@given(OCTETS, OCTETS, st.binary(min_size=8, max_size=8), st.integers(0, 5))
def test_openpgp_wrapped_anew(key: bytes, content: bytes, key_id: bytes, zeros: int) -> None:
    """Armor, packet formats, key IDs, other keys beside it, markers, zeros before a number: all names stay."""
    names = key_exchange.names(openpgp(pkesk(_RSA, number(key)), content=content))
    assert len(names) == 2

    padded = pkesk(_RSA, number(bytes(zeros) + key) + b"junk", key_id=key_id)
    mine = pkesk(_RSA, number(b"another"))
    for changed in (
        armored(openpgp(padded, content=content)),
        openpgp(padded, mine, content=content, write=old),
        openpgp(mine, padded, content=content),
        new(10, b"PGP") + old(1, padded) + new(18, sealed(content)),
        openpgp(pkesk(_RSA, number(key), version=6), content=content),
    ):
        assert set(names) <= set(key_exchange.names(changed))


@given(OCTETS, OCTETS)
@pytest.mark.parametrize(
    ("algorithm", "before"),
    [
        (_ECDH, lambda point: number(b"\x40" + point)),
        (_X25519, lambda point: (point + bytes(32))[:32]),
        (_X448, lambda point: (point + bytes(56))[:56]),
    ],
)
def test_other_points_for_the_same_secret(
    algorithm: int, before: Callable[[bytes], bytes], key: bytes, point: bytes
) -> None:
    """Of a key agreement only the wrapped key counts: another point may give the same secret."""
    cipher = b"\x09" if algorithm != _ECDH else b""

    def names(at: bytes, symmetric: bytes) -> tuple[bytes, ...]:
        wrapped = symmetric + key
        data = before(at) + bytes([len(wrapped)]) + wrapped
        return key_exchange.names(openpgp(pkesk(algorithm, data), content=b"content"))

    found = names(point, cipher)
    assert len(found) == 2
    assert names(bytes(len(point)), cipher and b"\x07") == found


@given(OCTETS, OCTETS, OCTETS)
def test_what_differs_has_other_names(key: bytes, content: bytes, other: bytes) -> None:
    """Two messages share no name unless they share the key exchange or the content."""
    if other in {key, content}:
        return
    one = set(key_exchange.names(openpgp(pkesk(_ELGAMAL, number(key) * 2), content=content)))
    assert one.isdisjoint(key_exchange.names(openpgp(pkesk(_ELGAMAL, number(other) * 2), content=other)))
    changed = one & set(key_exchange.names(openpgp(pkesk(_ELGAMAL, number(other) * 2), content=content)))
    assert len(changed) == 1  # written anew without the key: the content tells


def test_passphrases() -> None:
    """A packet for a passphrase is named by its salt; one without, which is alike in many messages, is not."""

    def names(body: bytes) -> tuple[bytes, ...]:
        return key_exchange.names(new(3, body) + new(18, sealed(b"content")))

    assert len(names(b"\4\x09\3\x08" + b"saltsalt" + b"\xff")) == 2
    assert names(b"\4\x09\3\x08" + b"saltsalt" + b"\xff") == names(b"\4\x07\3\x08" + b"saltsalt" + b"\xff")
    assert len(names(b"\4\x09\0\x08")) == 1


@given(st.binary(max_size=80), st.sampled_from([1, 3]), st.sampled_from([2, 3, 6, 7]), st.integers(0, 30))
def test_hostile_packets(body: bytes, tag: int, version: int, algorithm: int) -> None:
    """However a session key packet is cut or filled, the content still has its name."""
    for made in (body, bytes([version]) + body, bytes([version]) + bytes(8) + bytes([algorithm]) + body):
        found = key_exchange.names(new(tag, made) + new(18, sealed(b"content")))
        assert found[0] == key_exchange.names(new(1, b"x") + new(18, sealed(b"content")))[0]


def name(issuer: bytes) -> bytes:
    return der.sequence(der.sequence(der.octets(issuer)), der.integer(7))


def transport(key: bytes, issuer: bytes = b"") -> bytes:
    return der.sequence(
        der.integer(0), name(issuer), der.sequence(der.oid("1.2.840.113549.1.1.1")), der.octets(key)
    )


def agreement(keys: list[bytes], point: bytes, issuer: bytes = b"") -> bytes:
    each = der.sequence(*(der.sequence(name(issuer), der.octets(key)) for key in keys))
    parts = (der.integer(3), der.explicit(0, der.octets(point)), der.sequence(der.oid("1.3.132.1.11.1")), each)
    whole = der.sequence(*parts)
    return b"\xa1" + whole[1:]


def envelope(*infos: bytes, pieces: tuple[bytes, ...]) -> bytes:
    algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.1.42"), der.octets(bytes(16)))
    content = b"".join(map(der.octets, pieces))
    info = der.sequence(der.oid("1.2.840.113549.1.7.1"), algorithm, der.explicit(0, content))
    found = b"".join(sorted(infos))
    together = b"\x31" + der.octets(found)[1:]
    data = der.sequence(der.integer(2), together, info)
    return der.sequence(der.oid("1.2.840.113549.1.7.3"), der.explicit(0, data))


@given(OCTETS, OCTETS, OCTETS, st.integers(1, 23), st.integers(0, 3))
def test_cms_wrapped_anew(key: bytes, wrapped: bytes, content: bytes, at: int, zeros: int) -> None:
    """Other pieces, other names of recipients, other points, other recipients beside: all names stay."""
    found = key_exchange.names(envelope(transport(key), agreement([wrapped], b"point"), pieces=(content,)))
    assert len(found) == len({key, wrapped}) + 1

    changed = envelope(
        transport(b"mine"),
        transport(bytes(zeros) + key, b"other"),
        agreement([b"more", wrapped], b"tniop", b"other"),
        pieces=(content[:at], content[at:]),
    )
    assert set(found) <= set(key_exchange.names(changed))


@given(st.binary(max_size=200))
def test_no_encrypted_message(data: bytes) -> None:
    """What is no encrypted message has no names."""
    assert packets.is_encrypted_message(data) or key_exchange.names(data) == ()
    assert key_exchange.names(new(1, pkesk(_RSA, number(b"key")))) == ()
