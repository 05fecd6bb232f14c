"""
Envelopes both ways with gpgsm, as far as Debian's version goes: RSA by PKCS #1 v1.5 and content in CBC.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from lab.gpgsm import Gpgsm
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto.envelope import Enveloper
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.errors import CryptoError

pytestmark = pytest.mark.real

PLAIN = b"Content-Type: text/plain\r\n\r\n" + bytes(range(256)) * 40
ANN, BOB, EVA = "ann@clinic.test", "bob@clinic.test", "eva@clinic.test"


@dataclass(frozen=True, slots=True)
class World:
    """Correspondents in gpgsm's home and in ours; eva's key is on a curve, and not with gpgsm."""

    gpgsm: Gpgsm
    smime: Smime

    def opened(self, data: bytes, address: str, *, triple_des: bool = False) -> bytes:
        """Open as the key worker does."""
        private = SmimeKeys().read_private(self.smime.private(address).read_bytes(), "")[1]
        target = BytesIO()
        SmimeDecryptor(triple_des=triple_des).decrypt(BytesIO(data), target, private, [], most=1 << 24)
        return target.getvalue()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with short_folder() as folder:
        smime, gpgsm = Smime(folder / "smime"), Gpgsm(folder / "sm")
        for address, kind in ((ANN, "rsa"), (BOB, "rsa"), (EVA, "p256")):
            smime.certificate(address, kind)
        gpgsm.take(smime, ANN)
        gpgsm.know(smime, BOB)
        yield World(gpgsm, smime)
        gpgsm.close()


@pytest.mark.parametrize("cipher", ["aes128-cbc", "aes256-cbc"])
@pytest.mark.parametrize("others", [(), (BOB,), (EVA,), (BOB, EVA)])
def test_gpgsm_reads_ours(world: World, cipher: str, others: tuple[str, ...]) -> None:
    """What is encrypted here opens with gpgsm, whoever else it is for."""
    certificates = [world.smime.der(address)[0] for address in (*others, ANN)]
    data = b"".join(Enveloper(cipher=cipher).envelop([PLAIN], certificates, lambda: None)[1])
    assert world.gpgsm.decrypt(data) == PLAIN


def test_gpgsm_reads_a_large_one(world: World) -> None:
    """Ten megabytes open whole."""
    content = PLAIN * 1000
    data = b"".join(Enveloper().envelop([content], [world.smime.der(ANN)[0]], lambda: None)[1])
    assert world.gpgsm.decrypt(data) == content


@pytest.mark.parametrize("cipher", ["AES128", "AES192", "AES256"])
@pytest.mark.parametrize("size", [1, 15, 16, 100_000])
def test_we_read_gpgsm(world: World, cipher: str, size: int) -> None:
    """What gpgsm encrypts opens here for each of its recipients."""
    content = (PLAIN * 10)[:size]
    data = world.gpgsm.encrypt(content, [ANN, BOB], "--cipher-algo", cipher)
    assert world.opened(data, ANN) == content
    assert world.opened(data, BOB) == content


def test_triple_des(world: World) -> None:
    """Triple DES by gpgsm opens by setting only."""
    data = world.gpgsm.encrypt(PLAIN, [BOB], "--cipher-algo", "3DES")
    assert world.opened(data, BOB, triple_des=True) == PLAIN
    with pytest.raises(CryptoError):
        world.opened(data, BOB)
