"""Encrypted parts inside other parts, seen by a cheap look."""

import base64
import time
from collections.abc import Iterator

import pytest

from gatepost.crypto.nested import holds_encrypted, may_hold_encrypted
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field

ENVELOPED = bytes.fromhex("308006092a864886f70d010703a080") + bytes(60)
SIGNED = bytes.fromhex("3082054f06092a864886f70d010702a0820540") + bytes(60)
CMS = b"--b\r\nContent-Type: application/%b\r\nContent-Transfer-Encoding: base64\r\n\r\n%b\r\n--b--\r\n"


def cms(data: bytes, kind: bytes = b"pkcs7-mime; smime-type=signed-data") -> bytes:
    return CMS % (kind, base64.encodebytes(data).replace(b"\n", b"\r\n"))


FOUND = {
    "an envelope": cms(ENVELOPED),
    "an envelope by an old name": cms(ENVELOPED, b"x-pkcs7-mime"),
    "an envelope by its file's name": cms(ENVELOPED, b'octet-stream;\r\n name="smime.p7m"'),
    "the type on the next line": cms(ENVELOPED).replace(b"Type: ", b"Type:\r\n\t"),
    "in binary": b"--b\r\nContent-Type: application/pkcs7-mime\r\n\r\n" + ENVELOPED,
    "what is no CMS": cms(b"garbage"),
    "in capitals": cms(ENVELOPED).replace(
        b"Content-Type: application/pkcs7-mime", b"CONTENT-TYPE: APPLICATION/PKCS7-MIME"
    ),
    "behind a signed one": cms(SIGNED) + cms(ENVELOPED),
    "PGP/MIME": b"--b\r\ncontent-type: multipart/encrypted; boundary=c\r\n\r\n--c\r\n",
    "armor": b"--b\r\n\r\nHello,\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n",
    "armor in base64": b"--b\r\n\r\n" + base64.b64encode(b"-----BEGIN PGP MESSAGE-----\n\nhQEM"),
}
LEFT = {
    "nothing": b"",
    "text about it": b"--b\r\n\r\nSet Content-Type: application/pkcs7-mime, or multipart/encrypted.\r\n",
    "a quotation": b"> -----BEGIN PGP MESSAGE-----\r\n> Content-Type: application/pkcs7-mime\r\n",
    "a signed part": cms(SIGNED),
    "a signed part in binary": b"--b\r\nContent-Type: application/pkcs7-mime\r\n\r\n" + SIGNED,
    "a detached signature": b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nMIIF",
    "an armored signature": b"-----BEGIN PGP SIGNATURE-----\r\n",
    "an armored key": b"-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n",
}


class Pieces:
    """A body that comes in pieces of one size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    @property
    def size(self) -> int:
        return len(self._data)

    def chunks(self) -> Iterator[bytes]:
        yield from (self._data[start : start + self._size] for start in range(0, len(self._data), self._size))

    def read(self) -> bytes:
        return self._data


@pytest.mark.parametrize("body", FOUND.values(), ids=FOUND)
def test_is_seen(body: bytes) -> None:
    """Each kind of encrypted part is seen, wherever it stands and however the body is cut."""
    assert holds_encrypted(MemoryBody(body))
    for before in (0, 5000, 65000, 70001, 200_000):
        padding = (b"x" * 70 + b"\r\n") * (before // 72)
        for size in (100, 4096, 65535):
            assert holds_encrypted(Pieces(padding + body + padding, size)), (before, size)


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT)
def test_is_left(body: bytes) -> None:
    """What is signed only, or speaks of encryption, is not taken for it, wherever it stands."""
    assert not holds_encrypted(MemoryBody(body))
    for before in (5000, 61000, *range(65000, 65600, 40)):
        padding = b"x" * (before - 2) + b"\r\n"
        for size in (100, 65535):
            assert not holds_encrypted(Pieces(padding + body + padding, size)), (before, size)


def test_many_labels() -> None:
    """With more labels than honest mail has, the message counts."""
    assert holds_encrypted(MemoryBody(cms(SIGNED) * 60))


@pytest.mark.parametrize(
    "line", [b"Content-Type: ", b"Content-Type:\r\n ", b"pkcs7-mime", b"\r\n\t", b"content-type:" + b" " * 500]
)
def test_hostile_lines_cost_little(line: bytes) -> None:
    """Whatever a body repeats, the look takes time in proportion to its length."""
    body = MemoryBody(b"pkcs7-mime .p7m " + line * ((1 << 20) // len(line)))
    started = time.process_time()
    holds_encrypted(body)
    assert time.process_time() - started < 2


def test_what_has_parts() -> None:
    """Only what has other entities inside is looked through."""
    for media, expected in (("multipart/mixed", True), ("message/rfc822", True), ("text/plain", False)):
        assert may_hold_encrypted([Field(b"Content-Type", f" {media}; boundary=b".encode())]) is expected
    assert not may_hold_encrypted([])
