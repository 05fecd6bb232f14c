"""
Envelopes both ways with Bouncy Castle: what OpenSSL's command does not write, and a second opinion on the rest.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from lab.bouncycastle import BouncyCastle
from lab.smime import Smime

from gatepost.crypto import cms
from gatepost.crypto.envelope import Enveloper
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.private_certificate import SmimeKeys

pytestmark = pytest.mark.real

PLAIN = b"Content-Type: text/plain\r\n\r\nthe patient's data\r\n"
KINDS = ("rsa", "p256", "p384", "p521", "x25519")
CIPHERS = [f"aes{bits}-{mode}" for bits in (128, 192, 256) for mode in ("cbc", "gcm")] + ["aes256-gcm+attributes"]
TRANSPORT = ("rsa", "rsa+keyid", "oaep-SHA-1", "oaep-SHA-256", "oaep-SHA-512")
AGREEMENT = [
    f"{digest}/{wrap}{more}"
    for digest, wrap, more in itertools.product(
        ("sha1", "sha224", "sha256", "sha384", "sha512"), ("aes128", "aes256"), ("", "+keyid", "+ukm")
    )
]
HKDF = [
    f"hkdf-{digest}/{wrap}{more}"
    for digest, wrap, more in itertools.product(
        ("sha256", "sha384", "sha512"), ("aes128", "aes256"), ("", "+keyid", "+ukm")
    )
]


@dataclass(frozen=True, slots=True)
class World:
    """Correspondents' certificates and keys, and Bouncy Castle."""

    certificates: dict[str, bytes]
    keys: dict[str, bytes]
    privates: dict[str, bytes]
    other: BouncyCastle

    def theirs(self, kind: str, cipher: str, method: str) -> bytes:
        """Encrypt with Bouncy Castle."""
        return self.other.encrypt(PLAIN, cipher, [(method, self.certificates[kind])])

    def opened(self, kind: str, data: bytes) -> tuple[bytes, bool]:
        """Open as the key worker does; tells also whether the content is proved."""
        target = BytesIO()
        done = SmimeDecryptor().decrypt(BytesIO(data), target, self.privates[kind], [], most=1 << 20)
        return target.getvalue(), done.intact


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    smime = Smime(tmp_path_factory.mktemp("bouncycastle") / "smime")
    certificates, keys, privates = {}, {}, {}
    for kind in KINDS:
        smime.certificate(f"{kind}@clinic.test", kind)
        certificates[kind], keys[kind] = smime.der(f"{kind}@clinic.test")
        both = smime.private(f"{kind}@clinic.test").read_bytes()
        privates[kind] = SmimeKeys().read_private(both, "")[1]
    with BouncyCastle() as other:
        yield World(certificates, keys, privates, other)


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("rsa", "rsa"),
        ("p256", "sha256/aes256"),
        ("p384", "sha384/aes256+ukm"),
        ("x25519", "hkdf-sha256/aes256"),
    ],
)
def test_every_cipher(world: World, kind: str, method: str, cipher: str) -> None:
    """Every content cipher of Bouncy Castle opens, with attributes that are proved beside the content."""
    assert world.opened(kind, world.theirs(kind, cipher, method)) == (PLAIN, "gcm" in cipher)


@pytest.mark.parametrize("method", TRANSPORT)
def test_key_transport(world: World, method: str) -> None:
    """Every way to hide the content's key for RSA opens."""
    assert world.opened("rsa", world.theirs("rsa", "aes256-gcm", method))[0] == PLAIN


@pytest.mark.parametrize("method", AGREEMENT)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_key_agreement(world: World, kind: str, method: str) -> None:
    """Every hash and key wrap opens on every curve, by key identifier and with user keying material."""
    assert world.opened(kind, world.theirs(kind, "aes128-gcm", method))[0] == PLAIN


@pytest.mark.parametrize("method", HKDF)
def test_key_agreement_by_hkdf(world: World, method: str) -> None:
    """To X25519 every scheme of RFC 8418 opens; user keying material is the salt."""
    assert world.opened("x25519", world.theirs("x25519", "aes256-gcm", method))[0] == PLAIN


def test_changed_attributes(world: World) -> None:
    """Attributes that were changed make the message one that does not open."""
    data = world.theirs("rsa", "aes256-gcm+attributes", "rsa")
    assert data.count(b"a hint") == 1
    assert cms.is_enveloped(data.replace(b"a hint", b"a hunt"))
    with pytest.raises(Exception, match="decrypt"):
        world.opened("rsa", data.replace(b"a hint", b"a hunt"))


@pytest.mark.parametrize("cipher", ["aes128-cbc", "aes256-cbc", "aes256-gcm"])
@pytest.mark.parametrize("oaep", [False, True])
def test_bouncy_castle_reads_ours(world: World, cipher: str, oaep: bool) -> None:
    """What is encrypted here to keys of every kind opens with Bouncy Castle for each of them."""
    enveloper = Enveloper(cipher=cipher, oaep=oaep)
    data = b"".join(enveloper.envelop([PLAIN], list(world.certificates.values()), lambda: None)[1])
    for kind in KINDS:
        assert world.other.decrypt(data, world.keys[kind], world.certificates[kind]) == PLAIN
