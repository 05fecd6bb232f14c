"""
Envelopes by `openssl cms`, in every algorithm that Debian's OpenSSL writes, and ours read by it.

What is not taken is refused as everything is: one text, and nothing of the plaintext.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.smime import Smime

from gatepost.crypto.envelope import CIPHERS, Enveloper
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.openpgp import UNDECRYPTABLE
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.crypto.smime import Smime as SmimeMessages
from gatepost.crypto.x509 import X509Reader
from gatepost.errors import CryptoError

pytestmark = pytest.mark.real

PLAIN = b"Content-Type: text/plain\r\n\r\nthe patient's data\r\n"
CURVES = ("p256", "p384", "p521")
KINDS = ("rsa", *CURVES)
HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")
PROVED = ("-aes-128-gcm", "-aes-192-gcm", "-aes-256-gcm")
UNPROVED = ("-aes128", "-aes192", "-aes256")
FORMS = ((), ("-stream",), ("-keyid",), ("-stream", "-keyid"))


@dataclass(frozen=True, slots=True)
class World:
    """A correspondent of every kind, in OpenSSL's files and as the key worker holds their keys."""

    smime: Smime
    privates: dict[str, bytes]

    def encrypt(
        self,
        *kinds: str,
        options: Sequence[str] = ("-aes-256-gcm",),
        key_options: Sequence[str] = (),
        data: bytes = PLAIN,
    ) -> bytes:
        """Encrypt with OpenSSL."""
        return self.smime.encrypt(data, *map(address, kinds), options=options, key_options=key_options)

    def opened(self, kind: str, data: bytes, *, triple_des: bool = False) -> bytes | None:
        """Open an envelope as the key worker does; None where it is refused, as everything is."""
        target, refused = BytesIO(), ""
        try:
            decryptor = SmimeDecryptor(triple_des=triple_des)
            decryptor.decrypt(BytesIO(data), target, self.privates[kind], [], most=1 << 24)
        except CryptoError as error:
            refused = str(error)
        if refused:
            assert (refused, target.getvalue()) == (UNDECRYPTABLE, b"")
            return None
        return target.getvalue()

    def certificate(self, kind: str) -> bytes:
        """Give a certificate in DER."""
        (found,) = X509Reader().read((self.smime.folder / f"{address(kind)}.pem").read_bytes())
        return found.data


def address(kind: str) -> str:
    return f"{kind}@clinic.test"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    smime = Smime(tmp_path_factory.mktemp("openssl") / "smime")
    names = {**{kind: kind for kind in KINDS}, "second": "rsa", "stranger": "rsa"}
    for name, kind in names.items():
        smime.certificate(address(name), kind)
    private = {name: SmimeKeys().read_private(smime.private(address(name)).read_bytes(), "")[1] for name in names}
    return World(smime, private)


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize("cipher", [*UNPROVED, *PROVED])
@pytest.mark.parametrize("kind", KINDS)
def test_every_cipher_in_every_form(world: World, kind: str, cipher: str, form: tuple[str, ...]) -> None:
    """Every content cipher opens, in DER and BER, by issuer and serial number and by key identifier."""
    assert world.opened(kind, world.encrypt(kind, options=(cipher, *form))) == PLAIN


@pytest.mark.parametrize("label", ["", "0a0b0c"])
@pytest.mark.parametrize(("digest", "mask"), [*itertools.product(HASHES, HASHES)])
def test_oaep(world: World, digest: str, mask: str, label: str) -> None:
    """OAEP opens with every pair of hashes, with and without a label."""
    options = ["rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{mask}"]
    options += [f"rsa_oaep_label:{label}"] if label else []
    assert world.opened("rsa", world.encrypt("rsa", key_options=options)) == PLAIN


@pytest.mark.parametrize("wrap", ["aes128", "aes192", "aes256"])
@pytest.mark.parametrize("cofactor", ["0", "1"])
@pytest.mark.parametrize("digest", HASHES)
@pytest.mark.parametrize("curve", CURVES)
def test_key_agreement(world: World, curve: str, digest: str, cofactor: str, wrap: str) -> None:
    """Key agreement opens on each curve, standard and cofactor, with every hash and every key wrap."""
    data = world.encrypt(
        curve,
        options=("-aes-128-gcm", f"-{wrap}-wrap"),
        key_options=(f"ecdh_kdf_md:{digest}", f"ecdh_cofactor_mode:{cofactor}"),
    )
    assert world.opened(curve, data) == PLAIN


@pytest.mark.parametrize("kinds", [*itertools.permutations(("rsa", "p256", "p521")), ("second", "rsa")], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_several_recipients(world: World, kinds: tuple[str, ...], form: tuple[str, ...]) -> None:
    """A message to keys of several kinds, in any order, opens for each of them and for nobody else."""
    data = world.encrypt(*kinds, options=("-aes-256-gcm", *form))
    assert [world.opened(kind, data) for kind in kinds] == [PLAIN] * len(kinds)
    assert world.opened("stranger", data) is None
    assert world.opened("p384", data) is None


@pytest.mark.parametrize("kind", ["rsa", "p256"])
@pytest.mark.parametrize(
    "other", [("-pwri_password", "word"), ("-secretkey", "00112233445566778899aabbccddeeff", "-secretkeyid", "0a")]
)
def test_recipients_of_other_kinds(world: World, kind: str, other: tuple[str, ...]) -> None:
    """A password's or a shared key's recipient beside ours is passed over; alone, it opens for nobody."""
    assert world.opened(kind, world.encrypt(kind, options=("-aes256", *other))) == PLAIN
    assert world.opened(kind, world.encrypt(options=("-aes256", *other))) is None


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1023, 1024, 1025, 4096, 100_000, 3 << 20])
@pytest.mark.parametrize("cipher", ["-aes256", "-aes-256-gcm"])
def test_sizes_in_pieces(world: World, size: int, cipher: str) -> None:
    """What is streamed opens whole, wherever its pieces and blocks end."""
    data = bytes(range(256)) * (size // 256 + 1)
    assert world.opened("rsa", world.encrypt("rsa", options=(cipher, "-stream"), data=data[:size])) == data[:size]


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_triple_des(world: World, form: tuple[str, ...]) -> None:
    """Triple DES opens by setting only; its key wrap does not open at all."""
    data = world.encrypt("rsa", options=("-des3", *form))
    assert world.opened("rsa", data) is None
    assert world.opened("rsa", data, triple_des=True) == PLAIN
    wrapped = world.encrypt("p256", options=("-aes-128-gcm", "-des3-wrap", *form))
    assert world.opened("p256", wrapped, triple_des=True) is None


@pytest.mark.parametrize(
    "cipher",
    [
        "camellia128",
        "camellia-256-cbc",
        "aria-128-cbc",
        "aria-256-gcm",
        "sm4",
        "aes-256-cfb",
        "aes-256-ofb",
        "aes-256-ecb",
    ],
)
def test_ciphers_that_are_not_taken(world: World, cipher: str) -> None:
    """Other ciphers and modes are refused as everything is."""
    assert world.opened("rsa", world.encrypt("rsa", options=(f"-{cipher}",)), triple_des=True) is None


@pytest.mark.parametrize("digest", ["md5", "sha512-256", "sha3-256", "sm3", "blake2b512"])
def test_hashes_that_are_not_taken(world: World, digest: str) -> None:
    """OAEP with other hashes is refused as everything is."""
    options = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}")
    assert world.opened("rsa", world.encrypt("rsa", key_options=options)) is None


@settings(max_examples=25)
@given(
    st.binary(min_size=1, max_size=3000),
    st.lists(st.sampled_from((*KINDS, "second")), min_size=1, max_size=5, unique=True),
    st.sampled_from(sorted(CIPHERS)),
    st.booleans(),
)
def test_openssl_reads_ours(world: World, entity: bytes, kinds: list[str], cipher: str, oaep: bool) -> None:
    """Any content to any choice of recipients is for each of them the same behind OpenSSL."""
    certificates = [world.certificate(kind) for kind in kinds]
    enveloper = Enveloper(cipher=cipher, oaep=oaep)
    fields, body = SmimeMessages(enveloper).enclose([entity], certificates, lambda: None)
    message = b"".join(field.wire() for field in fields) + b"\r\n" + body.read()
    reader = kinds[-1]
    assert world.smime.decrypt(message, address(reader)) == entity


def test_openssl_reads_ours_for_many(world: World) -> None:
    """A message to a hundred certificates opens for the last of them."""
    certificates = [world.certificate(kind) for kind in KINDS * 25]
    fields, body = SmimeMessages(Enveloper()).enclose([PLAIN], certificates, lambda: None)
    message = b"".join(field.wire() for field in fields) + b"\r\n" + body.read()
    assert all(world.smime.decrypt(message, address(kind)) == PLAIN for kind in KINDS)
