"""
OpenPGP messages, written so that each packet can be taken, changed and put back (RFC 9580, versions of RFC 4880).

What is encrypted or signed is so in truth, with the keys of lab.attacks.people, all of which are RSA.
"""

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha1, sha256

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lab.attacks.chance import Chance
from lab.attacks.people import KEYS

_MADE = 1_704_153_600  # 2 January 2024, for literal data and signatures
_PKESK, _SIGNATURE, _SECRET, _ONE_PASS, _SECRET_SUB = 1, 2, 5, 4, 7
SED, LITERAL, SEIPD = 9, 11, 18
_RSA, _AES256, _SHA256 = 1, 9, 8


@dataclass(frozen=True, slots=True)
class _Key:
    """One key: its fingerprint, RSA's modulus, exponent and private exponent."""

    fingerprint: bytes
    modulus: int
    exponent: int
    private: int


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An encrypted message in its parts: the key's packets, and the ciphertext of one packet by its tag."""

    keys: tuple[bytes, ...]
    content: bytes
    tag: int = SEIPD

    def octets(self) -> bytes:
        """Write it in binary."""
        version = b"\1" if self.tag == SEIPD else b""
        return b"".join(self.keys) + packet(self.tag, version + self.content)

    def armor(self) -> bytes:
        """Write it in ASCII armor."""
        return armored("MESSAGE", self.octets())


def packet(tag: int, content: bytes) -> bytes:
    """Write a packet with a length of five octets (RFC 9580 section 4.2.1)."""
    return bytes((0xC0 | tag, 0xFF)) + len(content).to_bytes(4, "big") + content


def armored(kind: str, data: bytes) -> bytes:
    """Write ASCII armor (RFC 9580 section 6), with the checksum that gpg 2.2 wants."""
    text = base64.b64encode(data)
    lines = [text[place : place + 64] for place in range(0, len(text), 64)]
    head, end = f"-----BEGIN PGP {kind}-----".encode(), f"-----END PGP {kind}-----".encode()
    return b"\r\n".join([head, b"", *lines, b"=" + base64.b64encode(_checksum(data)), end, b""])


def _checksum(data: bytes) -> bytes:
    value = 0xB704CE
    for octet in data:
        value ^= octet << 16
        for _ in range(8):
            value <<= 1
            if value & 0x1000000:
                value ^= 0x1864CFB
    return value.to_bytes(3, "big")


def literal(data: bytes) -> bytes:
    """Write a literal data packet."""
    return packet(LITERAL, b"b\0" + _MADE.to_bytes(4, "big") + data)


def signature(name: str, data: bytes) -> bytes:
    """Write somebody's signature packet over data."""
    key = _keys(name)[0]
    subpackets = b"\x05\x02" + _MADE.to_bytes(4, "big") + b"\x16\x21\x04" + key.fingerprint
    head = bytes((4, 0, _RSA, _SHA256)) + len(subpackets).to_bytes(2, "big") + subpackets
    digest = sha256(data + head + b"\x04\xff" + len(head).to_bytes(4, "big")).digest()
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")
    padded = b"\0\1" + b"\xff" * (256 - 3 - len(prefix + digest)) + b"\0" + prefix + digest
    signed = pow(int.from_bytes(padded, "big"), key.private, key.modulus)
    unhashed = b"\x09\x10" + key.fingerprint[-8:]
    return packet(_SIGNATURE, head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2] + _number(signed))


def signed(name: str, data: bytes) -> bytes:
    """Write data with somebody's signature around it."""
    return one_pass(name) + literal(data) + signature(name, data)


def one_pass(name: str) -> bytes:
    """Write the packet that announces somebody's signature."""
    return packet(_ONE_PASS, bytes((3, 0, _SHA256, _RSA)) + _keys(name)[0].fingerprint[-8:] + b"\1")


def encrypted(chance: Chance, packets: bytes, *names: str) -> Encrypted:
    """Encrypt packets to people, protected by a modification detection code."""
    key, start = chance.octets(32), chance.octets(16)
    plain = start + start[-2:] + packets + b"\xd3\x14"
    plain += sha1(plain).digest()  # noqa: S324 - RFC 9580 section 5.13.1
    return Encrypted(_session(chance, key, names), b"".join(_cfb(key, bytes(16), plain)))


def unprotected(chance: Chance, packets: bytes, *names: str) -> Encrypted:
    """Encrypt packets to people in the old way, which nothing protects (RFC 9580 section 5.7)."""
    key, start = chance.octets(32), chance.octets(16)
    first = b"".join(_cfb(key, bytes(16), start + start[-2:]))
    return Encrypted(_session(chance, key, names), first + b"".join(_cfb(key, first[2:], packets)), SED)


def _session(chance: Chance, key: bytes, names: tuple[str, ...]) -> tuple[bytes, ...]:
    """Write the packets that hold the session key for each of these people."""
    secret = bytes((_AES256,)) + key + (sum(key) & 0xFFFF).to_bytes(2, "big")
    found = []
    for name in names:
        to = _keys(name)[1]
        hidden = pow(int.from_bytes(chance.padded(secret, 256), "big"), to.exponent, to.modulus)
        found.append(packet(_PKESK, b"\3" + to.fingerprint[-8:] + bytes((_RSA,)) + _number(hidden)))
    return tuple(found)


def _cfb(key: bytes, start: bytes, plain: bytes) -> Iterator[bytes]:
    """Encrypt in cipher feedback mode."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - each block is masked by the next
    for place in range(0, len(plain), 16):
        mask = block.update(start)
        start = bytes(a ^ b for a, b in zip(mask, plain[place : place + 16], strict=False))
        yield start


def _number(value: int) -> bytes:
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


@cache
def _keys(name: str) -> tuple[_Key, ...]:
    """Read somebody's keys, the one that signs before the one that is encrypted to."""
    lines = (KEYS / f"{name}.asc").read_text().partition("\n\n")[2].splitlines()
    data = base64.b64decode("".join(itertools.takewhile(lambda line: line[0] not in "-=", lines)))
    return tuple(_key(content) for tag, content in packets(data) if tag in {_SECRET, _SECRET_SUB})


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take packets apart: each one's tag and content, with lengths of either format but no partial ones."""
    place = 0
    while place < len(data):
        first = data[place]
        if first & 0x40:
            tag = first & 0x3F
            head, size = _new_length(data[place + 1 : place + 6])
        else:
            tag, count = first >> 2 & 0xF, 1 << (first & 3)
            head, size = count, int.from_bytes(data[place + 1 : place + 1 + count], "big")
        place += 1 + head
        yield tag, data[place : place + size]
        place += size


def _new_length(octets: bytes) -> tuple[int, int]:
    first = octets[0]
    if first < 192:  # noqa: PLR2004 - RFC 9580 section 4.2.1
        return 1, first
    if first < 224:  # noqa: PLR2004 - the same
        return 2, ((first - 192) << 8) + octets[1] + 192
    return 5, int.from_bytes(octets[1:5], "big")


def _key(content: bytes) -> _Key:
    modulus, place = _read_number(content, 6)
    exponent, place = _read_number(content, place)
    public, private = content[:place], content[place + 1 :]  # an octet says that no passphrase protects it
    fingerprint = sha1(b"\x99" + len(public).to_bytes(2, "big") + public).digest()  # noqa: S324 - version 4
    return _Key(fingerprint, modulus, exponent, _read_number(private, 0)[0])


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    end = place + 2 + (int.from_bytes(data[place : place + 2], "big") + 7) // 8
    return int.from_bytes(data[place + 2 : end], "big"), end
