"""
Signatures both ways with Bouncy Castle, the other implementation for Ed25519, which OpenSSL lacks within CMS.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from lab.bouncycastle import BouncyCastle, BouncyCastleError
from lab.smime import Smime

from gatepost.crypto import signed_data
from gatepost.crypto.private_key import load
from gatepost.crypto.signature import SignatureError, Signer
from gatepost.crypto.signed_writer import SmimeSigner

pytestmark = pytest.mark.real

CONTENT = b"Content-Type: text/plain\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n" + b"x" * 5000
ALGORITHMS = [
    *(("rsa", f"SHA{bits}with{way}") for bits in (256, 384, 512) for way in ("RSA", "RSAandMGF1")),
    *((kind, f"SHA{bits}withECDSA") for kind in ("p256", "p384", "p521") for bits in (256, 384, 512)),
    ("ed25519", "Ed25519"),
]


@dataclass(frozen=True, slots=True)
class World:
    """Bouncy Castle, and each kind's certificate and key."""

    other: BouncyCastle
    people: dict[str, tuple[bytes, bytes]]

    def signed(self, kind: str, algorithm: str, *, attached: bool) -> bytes:
        """Have Bouncy Castle sign the content."""
        certificate, key = self.people[kind]
        return self.other.sign(CONTENT, algorithm, key, certificate, attached=attached)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    smime = Smime(tmp_path_factory.mktemp("bouncycastle") / "smime")
    people = {}
    for kind in ("rsa", "p256", "p384", "p521", "ed25519"):
        smime.certificate(f"{kind}@clinic.test", kind)
        people[kind] = smime.der(f"{kind}@clinic.test")
    with BouncyCastle() as other:
        yield World(other, people)


def _verified(data: bytes, content: bytes | None) -> tuple[Signer, ...]:
    return signed_data.verify(signed_data.read(data), None if content is None else (content,), ())


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
def test_what_bouncy_castle_signs(world: World, kind: str, algorithm: str, attached: bool) -> None:
    """Its signatures in every algorithm are good, over what was signed and over nothing else."""
    data = world.signed(kind, algorithm, attached=attached)
    (signer,) = _verified(data, None if attached else CONTENT)

    assert signer.certificate == world.people[kind][0]
    changed = data.replace(b"xxxx", b"xxyx", 1) if attached else data
    with pytest.raises(SignatureError):
        _verified(changed, None if attached else CONTENT[:-1])
    with pytest.raises(SignatureError):
        _verified(data, CONTENT if attached else None)


@pytest.mark.parametrize("pss", [False, True])
@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521", "ed25519"])
def test_bouncy_castle_verifies_ours(world: World, kind: str, pss: bool) -> None:
    """What is signed here with a key of any kind is good for it, and for no other content or signer."""
    certificate, key = world.people[kind]
    made = SmimeSigner(load, pss=pss).sign(BytesIO(CONTENT), certificate + key).data

    assert world.other.verify(made, [certificate], CONTENT) == CONTENT
    for others, content in (([certificate], CONTENT + b"x"), ([world.people["p256"][0]], CONTENT[:-1])):
        with pytest.raises(BouncyCastleError):
            world.other.verify(made, others, content)


@pytest.mark.parametrize("algorithm", ["SHA1withRSA", "SHA224withRSA", "MD5withRSA"])
def test_weak_digests(world: World, algorithm: str) -> None:
    """Its signatures with weak digests are refused, however good."""
    with pytest.raises(SignatureError):
        _verified(world.signed("rsa", algorithm, attached=True), None)
