"""Private keys in this process: each does what its certificate allows, and nothing else."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.crypto.private_key import HASHES, Abilities, Oaep, PrivateKey, Scheme, Signing, load
from gatepost.crypto.x509 import Parsed
from gatepost.errors import CryptoError

pytestmark = pytest.mark.real

CASES = {
    "rsa": ((), Abilities(decrypt=True, exchange=False, schemes=(Scheme.PKCS1, Scheme.PSS))),
    "p256": ((), Abilities(decrypt=False, exchange=True, schemes=(Scheme.ECDSA,))),
    "x25519": ((), Abilities(decrypt=False, exchange=True, schemes=())),
    "ed25519": ((), Abilities(decrypt=False, exchange=False, schemes=(Scheme.ED25519,))),
    "rsa-pss": ((), Abilities(decrypt=False, exchange=False, schemes=(Scheme.PSS,))),
    "rsa.signs": (("digitalSignature",), Abilities(decrypt=False, exchange=False, schemes=tuple(Scheme)[:2])),
    "p521.signs": (("nonRepudiation",), Abilities(decrypt=False, exchange=False, schemes=(Scheme.ECDSA,))),
    "rsa.opens": (("keyEncipherment",), Abilities(decrypt=True, exchange=False, schemes=())),
    "p384.opens": (("keyAgreement",), Abilities(decrypt=False, exchange=True, schemes=())),
}


@dataclass(frozen=True)
class People:
    """A key of each case, as the key table keeps it and in OpenSSL's files."""

    folder: Path
    kept: dict[str, bytes]

    def loaded(self, name: str) -> tuple[Parsed, PrivateKey]:
        return load(self.kept[name])


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with short_folder() as folder:
        outside, kept = Smime(folder / "smime"), {}
        for name, (usages, _) in CASES.items():
            outside.certificate(name, name.partition(".")[0], *(f"keyUsage={one}" for one in usages))
            kept[name] = SmimeKeys().read_private(outside.private(name).read_bytes(), "")[1]
        yield People(outside.folder, kept)


@pytest.mark.parametrize("name", list(CASES))
def test_what_it_can_do(people: People, name: str) -> None:
    """A key's kind and its certificate's key usage decide what it does; the rest it refuses."""
    own, key = people.loaded(name)
    can = CASES[name][1]

    assert key.abilities == can
    assert bool(own.encryption_fault) is not (can.decrypt or can.exchange)
    operations: list[tuple[bool, Callable[[], object]]] = [
        (can.decrypt, lambda: key.decrypt(bytes(256), Oaep())),
        (can.exchange, lambda: key.exchange(b"")),
    ]
    for able, operate in operations:
        with pytest.raises(ValueError, match=r"^(?!this key)" if able else "this key does not"):
            operate()
    for scheme in Scheme:
        if scheme in can.schemes:
            assert key.sign(b"data", Signing(scheme))
        else:
            with pytest.raises(ValueError, match="does not sign"):
                key.sign(b"data", Signing(scheme))


def test_decrypt(people: People) -> None:
    """RSA decrypts with PKCS #1 v1.5 and with OAEP, whatever its hashes and label."""
    own, key = people.loaded("rsa")
    assert isinstance(own.key, rsa.RSAPublicKey)

    assert key.decrypt(own.key.encrypt(b"secret", PKCS1v15()), None) == b"secret"
    hidden = own.key.encrypt(b"secret", OAEP(MGF1(HASHES["sha512"]()), HASHES["sha256"](), b"label"))
    assert key.decrypt(hidden, Oaep("sha256", "sha512", b"label")) == b"secret"
    with pytest.raises(ValueError, match="failed"):
        key.decrypt(hidden, Oaep("sha256", "sha512"))


def test_exchange(people: People) -> None:
    """Both sides of an exchange come to one secret; what is no point on the curve is refused, zeros too."""
    own, key = people.loaded("p256")
    assert isinstance(own.key, ec.EllipticCurvePublicKey)
    other = ec.generate_private_key(ec.SECP256R1())
    point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert key.exchange(point) == other.exchange(ec.ECDH(), own.key)
    with pytest.raises(ValueError, match="Invalid EC key"):
        key.exchange(point[:-1] + bytes((point[-1] ^ 1,)))

    own, key = people.loaded("x25519")
    assert isinstance(own.key, x25519.X25519PublicKey)
    theirs = x25519.X25519PrivateKey.generate()
    assert key.exchange(theirs.public_key().public_bytes_raw()) == theirs.exchange(own.key)
    with pytest.raises(ValueError, match="computing shared key"):
        key.exchange(bytes(32))


@pytest.mark.parametrize(
    ("name", "scheme", "options"),
    [
        ("rsa", Scheme.PKCS1, ("-sha384",)),
        ("rsa", Scheme.PSS, ("-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48")),
        ("rsa-pss", Scheme.PSS, ("-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48")),
        ("p256", Scheme.ECDSA, ("-sha384",)),
        ("ed25519", Scheme.ED25519, None),
    ],
)
def test_openssl_verifies(people: People, name: str, scheme: Scheme, options: tuple[str, ...] | None) -> None:
    """OpenSSL takes a signature of every scheme for good."""
    key = people.loaded(name)[1]
    folder = people.folder
    (folder / "value").write_bytes(key.sign(b"what is signed", Signing(scheme, "sha384")))
    (folder / "data").write_bytes(b"what is signed")
    extract = ["openssl", "x509", "-in", f"{name}.pem", "-noout", "-pubkey", "-out", "public"]
    subprocess.run(extract, cwd=folder, check=True, timeout=60)
    if options is None:
        raw = ("-rawin", "-in", "data", "-sigfile", "value")
        verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public", *raw]
    else:
        verify = ["openssl", "dgst", *options, "-verify", "public", "-signature", "value", "data"]

    assert subprocess.run(verify, cwd=folder, check=False, timeout=60, capture_output=True).returncode == 0


def test_authorities_behind(people: People) -> None:
    """Certificates of authorities may stand behind the key."""
    chain = people.loaded("rsa")[0].certificate.data
    assert load(people.kept["p256"] + chain + chain)[1].exchange(_point())


def _point() -> bytes:
    other = ec.generate_private_key(ec.SECP256R1())
    return other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def test_what_is_damaged(people: People) -> None:
    """What was kept and is damaged is one clear error, without any octet of it."""
    whole = people.kept["rsa"]
    for data in (b"", whole[:-1], whole + b"\0\0", people.loaded("rsa")[0].certificate.data + b"\x30\x00"):
        with pytest.raises(CryptoError, match="private key"):
            load(data)
