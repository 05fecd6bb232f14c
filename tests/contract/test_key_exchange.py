"""
What gpg and OpenSSL open of a captured message that was changed: whatever they do is known again by a name.
"""

import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate
from lab.gpg import Gpg
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto import cms, key_exchange, packets
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.errors import CryptoError

pytestmark = pytest.mark.real

RSA, CURVE = "rsa@hosp.test", "curve@hosp.test"
_SUBKEY, _MATERIAL = 14, 6  # packet of a version 4 key: version, four octets of time, algorithm


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    with short_folder() as folder:
        gpg = Gpg(folder / "gpg")
        gpg.key(RSA, "rsa2048")
        gpg.key(CURVE)
        yield gpg


def _number(data: bytes) -> bytes:
    """Take the number at the front."""
    return data[2 : 2 + (int.from_bytes(data[:2]) + 7) // 8]


def _written(value: int) -> bytes:
    return value.bit_length().to_bytes(2) + value.to_bytes((value.bit_length() + 7) // 8)


def _modulus(gpg: Gpg) -> int:
    public = gpg.run("--export", gpg.key(RSA)).stdout
    (body,) = [b"".join(pieces) for tag, pieces in packets.walk(public) if tag == _SUBKEY]
    return int.from_bytes(_number(body[_MATERIAL:]))


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def _changed(message: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Write a message's packets anew, its session key packet changed."""
    binary = packets.dearmor(message) or b""
    bodies = [(tag, b"".join(pieces)) for tag, pieces in packets.walk(binary)]
    return b"".join(_packet(tag, change(body) if tag == packets.PKESK else body) for tag, body in bodies)


def _opens(gpg: Gpg, binary: bytes) -> bool:
    head, end = b"-----BEGIN PGP MESSAGE-----\n\n", b"-----END PGP MESSAGE-----\n"
    try:
        return gpg.decrypt(head + base64.encodebytes(binary) + end).data == b"canary\n"
    except RuntimeError:
        return False


def test_gpg_opens_more_than_was_sent(gpg: Gpg) -> None:
    """The modulus added to the number, or another key ID: gpg opens it, and it keeps a name."""
    message = gpg.encrypt(b"canary\n", [gpg.key(RSA)])
    modulus = _modulus(gpg)

    def added(body: bytes) -> bytes:
        return body[:10] + _written(int.from_bytes(_number(body[10:])) + modulus)

    def wildcard(body: bytes) -> bytes:
        return body[:1] + bytes(8) + body[9:]

    names = set(key_exchange.names(message))
    for change, kept in ((added, 1), (wildcard, 2)):
        changed = _changed(message, change)
        assert _opens(gpg, changed)
        assert len(names & set(key_exchange.names(changed))) == kept


def test_other_points_on_the_curve(gpg: Gpg) -> None:
    """The top bit of a point on curve 25519 counts for nothing: gpg opens it turned, and all names stay."""
    message = gpg.encrypt(b"canary\n", [gpg.key(CURVE)])

    def turned(body: bytes) -> bytes:
        size = len(_number(body[10:]))
        last = 10 + 2 + size - 1
        return body[:last] + bytes([body[last] ^ 0x80]) + body[last + 1 :]

    changed = _changed(message, turned)
    assert _opens(gpg, changed)
    assert key_exchange.names(changed) == key_exchange.names(message)


def test_content_that_was_changed_does_not_open(gpg: Gpg) -> None:
    """The content's name cannot be changed: gpg opens nothing whose content differs in a bit."""
    binary = packets.dearmor(gpg.encrypt(b"canary\n", [gpg.key(RSA)])) or b""
    assert _opens(gpg, binary)
    assert not _opens(gpg, binary[:-1] + bytes([binary[-1] ^ 1]))


@pytest.fixture(scope="module")
def smime() -> Iterator[Smime]:
    with short_folder() as folder:
        people = Smime(folder / "smime")
        people.certificate(RSA, "rsa")
        yield people


def test_openssl_refuses_a_number_above_the_modulus(smime: Smime) -> None:
    """The modulus added: neither OpenSSL nor the key worker opens it."""
    public = load_pem_x509_certificate((smime.folder / f"{RSA}.pem").read_bytes()).public_key()
    assert isinstance(public, RSAPublicKey)
    modulus = public.public_numbers().n
    while True:  # until the sum has no more octets than the modulus
        data = smime.encrypt(b"canary\n", RSA)
        envelope = cms.envelope(data)
        assert envelope is not None
        key = bytes(envelope.recipients[0].parts[3].octets)
        added = int.from_bytes(key) + modulus
        if added.bit_length() <= modulus.bit_length():
            break
    private = SmimeKeys().read_private(Path(smime.private(RSA)).read_bytes(), "")[1]
    changed = data.replace(key, added.to_bytes(len(key)))
    with pytest.raises(CryptoError):
        SmimeDecryptor().decrypt(BytesIO(changed), BytesIO(), private, [], most=1 << 20)
    with pytest.raises(RuntimeError):
        smime.decrypt(_message(changed), RSA)
    assert smime.decrypt(_message(data), RSA) == b"canary\n"


def _message(data: bytes) -> bytes:
    head = b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\n\n"
    return head + base64.encodebytes(data)
