"""Sealing: everything comes back exactly, and nothing that was touched comes back at all."""

import os
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.crypto import seal
from gatepost.errors import CryptoError

KEY = bytes(range(32))
BORDERS = sorted({max(0, n * seal.SEGMENT + d) for n in (0, 1, 2) for d in (-1, 0, 1)})
HEAD = 43


def sealed(data: bytes, key: bytes = KEY, context: bytes = b"a-blob") -> bytes:
    return b"".join(seal.seal([data], key, context))


def opened(blob: bytes, key: bytes = KEY, context: bytes = b"a-blob") -> bytes:
    return b"".join(seal.open_sealed([blob], key, context))


def released(blob: bytes) -> bytes:
    """Give what came out before the error that must come."""
    out = []
    with pytest.raises(CryptoError):
        out.extend(seal.open_sealed([blob], KEY, b"a-blob"))
    return b"".join(out)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("size", BORDERS)
@pytest.mark.parametrize("pieces", [1000, 65536, 1 << 20])
def test_round_trip_at_segment_borders(size: int, pieces: int) -> None:
    """What was sealed opens to the same bytes, at and beside every segment border, in pieces of any size."""
    data = os.urandom(size)
    blob = b"".join(seal.seal(cut(data, pieces), KEY, b"a-blob"))
    assert b"".join(seal.open_sealed(cut(blob, pieces), KEY, b"a-blob")) == data


@given(pieces=st.lists(st.binary(max_size=300)), step=st.integers(1, 100))
def test_round_trip_of_any_pieces(pieces: list[bytes], step: int) -> None:
    """How a stream is cut makes no difference."""
    blob = b"".join(seal.seal(pieces, KEY, b"a-blob"))
    assert b"".join(seal.open_sealed(cut(blob, step), KEY, b"a-blob")) == b"".join(pieces)


def test_every_flipped_bit_is_found() -> None:
    """Each single changed bit makes the blob unreadable, and nothing of a bad segment comes out."""
    blob = sealed(b"Patient has recovered.")
    for position in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[position // 8] ^= 1 << position % 8
        assert released(bytes(damaged)) == b""


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_flipped_bit_in_a_long_blob(data: st.DataObject) -> None:
    """A changed bit in a later segment releases at most the segments before it."""
    content = bytes(2 * seal.SEGMENT + 10)
    blob = bytearray(sealed(content))
    position = data.draw(st.integers(HEAD, len(blob) - 1))
    blob[position] ^= 1 << data.draw(st.integers(0, 7))
    before = (position - HEAD) // (seal.SEGMENT + 16) * seal.SEGMENT
    assert len(released(bytes(blob))) <= before


def test_every_truncation_is_found() -> None:
    """A blob that was cut off anywhere does not open."""
    blob = sealed(b"Patient has recovered.")
    for length in range(len(blob)):
        assert released(blob[:length]) == b""


@pytest.mark.parametrize("segments", [0, 1, 2])
def test_truncation_between_segments_is_found(segments: int) -> None:
    """A blob that was cut off exactly between two segments does not open."""
    blob = sealed(bytes(3 * seal.SEGMENT))
    assert len(released(blob[: HEAD + segments * (seal.SEGMENT + 16)])) < 3 * seal.SEGMENT


@pytest.mark.parametrize("addition", [b"x", bytes(16), bytes(seal.SEGMENT + 16)])
def test_extension_is_found(addition: bytes) -> None:
    """A blob to which something was added does not open to its end."""
    blob = sealed(bytes(2 * seal.SEGMENT))
    assert len(released(blob + addition)) < 2 * seal.SEGMENT


def test_repeated_and_reordered_segments_are_found() -> None:
    """Segments open only in their own place."""
    blob = sealed(os.urandom(3 * seal.SEGMENT))
    head, step = blob[:HEAD], seal.SEGMENT + 16
    first, second, third = (blob[HEAD + i * step : HEAD + (i + 1) * step] for i in range(3))
    assert released(head + second + first + third) == b""
    assert len(released(head + first + first + third)) == seal.SEGMENT


def test_wrong_key_and_context() -> None:
    """A blob opens only with its own key and under its own name."""
    blob = sealed(b"secret")
    with pytest.raises(CryptoError):
        opened(blob, key=bytes(32))
    with pytest.raises(CryptoError):
        opened(blob, context=b"another-blob")
    with pytest.raises(CryptoError):
        opened(blob, key=b"short")


def test_two_blobs_share_nothing() -> None:
    """The same content under the same key is sealed to different bytes each time."""
    assert sealed(b"same")[HEAD:] != sealed(b"same")[HEAD:]


@given(secret=st.binary(max_size=200), context=st.binary(max_size=50))
def test_wrapped_key_comes_back(secret: bytes, context: bytes) -> None:
    """What is wrapped to a public key opens with its private half under the same context."""
    private, public = seal.new_pair()
    assert seal.unwrap(private, seal.wrap(public, secret, context), context) == secret


def test_every_damage_to_a_wrapped_key_is_found() -> None:
    """A changed, cut, foreign or misplaced wrapped key does not open."""
    private, public = seal.new_pair()
    wrapped = seal.wrap(public, KEY, b"held-1")
    for position in range(len(wrapped) * 8):
        damaged = bytearray(wrapped)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(CryptoError):
            seal.unwrap(private, bytes(damaged), b"held-1")
    for length in range(len(wrapped)):
        with pytest.raises(CryptoError):
            seal.unwrap(private, wrapped[:length], b"held-1")
    with pytest.raises(CryptoError):
        seal.unwrap(private, wrapped, b"held-2")
    with pytest.raises(CryptoError):
        seal.unwrap(seal.new_pair()[0], wrapped, b"held-1")


@pytest.mark.parametrize("key", [b"", b"short", bytes(33), bytes(32)])
def test_unusable_public_key_is_refused(key: bytes) -> None:
    """Nothing is wrapped to a key of the wrong length or of low order."""
    with pytest.raises(CryptoError):
        seal.wrap(key, KEY, b"")


def test_unusable_private_key_is_refused() -> None:
    """What is no private key opens nothing, and says so."""
    _, public = seal.new_pair()
    with pytest.raises(CryptoError):
        seal.unwrap(b"short", seal.wrap(public, KEY, b""), b"")


def test_a_new_key_is_random() -> None:
    """Each blob gets a data key of its own, of 32 octets."""
    keys = {seal.new_key() for _ in range(10)}

    assert len(keys) == 10
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    """Sealing and opening take data keys of 32 octets only: a short one would protect less."""
    with pytest.raises(CryptoError, match=f"32 octets long, not {size}"):
        sealed(b"x", bytes(size))
    with pytest.raises(CryptoError, match=f"32 octets long, not {size}"):
        opened(sealed(b"x"), bytes(size))


def test_what_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No nonce is ever used twice: after the last counter nothing more is sealed, nor opened."""
    blob = sealed(bytes(2 * seal.SEGMENT + 1))
    monkeypatch.setattr(seal, "_MAX_SEGMENTS", 2)

    assert len(opened(sealed(bytes(2 * seal.SEGMENT)))) == 2 * seal.SEGMENT
    with pytest.raises(CryptoError, match="too long"):
        sealed(bytes(2 * seal.SEGMENT + 1))
    with pytest.raises(CryptoError, match="too long"):
        opened(blob)


def test_the_format_stays_as_it_is_documented() -> None:
    """A blob opens by its description alone, so one that was sealed years ago will open."""
    data = os.urandom(seal.SEGMENT + 5)
    blob = sealed(data)
    magic, salt, prefix, rest = blob[:4], blob[4:36], blob[36:43], blob[43:]
    derived = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"GPS1a-blob").derive(KEY)
    first, last = rest[: (64 << 10) + 16], rest[(64 << 10) + 16 :]

    assert magic == b"GPS1"
    assert data == (
        AESGCM(derived).decrypt(prefix + b"\0\0\0\0\0", first, None)
        + AESGCM(derived).decrypt(prefix + b"\0\0\0\x01\x01", last, None)
    )


def test_sealing_and_opening_hold_little() -> None:
    """A segment is given out before the rest is read: a message of any size takes little memory."""
    taken: list[int] = []

    def source(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            taken.append(len(piece))
            yield piece

    size = seal.SEGMENT
    out = seal.seal(source(iter([bytes(size)] * 9)), KEY, b"a-blob")
    assert [len(next(out)), len(next(out))] == [HEAD, size + 16]
    assert len(taken) == 2

    taken.clear()
    blob = sealed(bytes(9 * size))
    assert len(next(seal.open_sealed(source(cut(blob, size)), KEY, b"a-blob"))) == size
    assert len(taken) == 2
