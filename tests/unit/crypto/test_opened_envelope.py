"""CMS envelopes opened: what OpenSSL and this gateway write, and nothing that was changed on the way."""

import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto import cms, der
from gatepost.crypto.envelope import CIPHERS, Enveloper
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.openpgp import UNDECRYPTABLE, Decrypted
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.errors import CryptoError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")

PLAIN = b"Content-Type: text/plain\r\n\r\n" + bytes(range(256)) * 20
KINDS = ("rsa", "p256", "p384", "p521")  # that OpenSSL encrypts to
OURS = (*KINDS, "x25519")
HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")
MOST = 1 << 24


@dataclass(frozen=True)
class People:
    """One correspondent of each kind, in OpenSSL's files and as the key worker has them."""

    folder: Path
    privates: dict[str, bytes]

    def encrypted(self, *options: str, to: Sequence[str] = ("rsa",), data: bytes = PLAIN) -> bytes:
        """Encrypt with openssl; `options` stand before the recipients, `-keyopt` behind each of them."""
        before, after = [], []
        words = list(options)
        while words:
            one = words.pop(0)
            (after if one == "-keyopt" else before).append(one)
            if one == "-keyopt":
                after.append(words.pop(0))
        named = [word for kind in to for word in ("-recip", f"{kind}@hosp.test.pem", *after)]
        command = ("openssl", "cms", "-encrypt", "-binary", "-outform", "DER", *before, *named)
        done = subprocess.run(command, cwd=self.folder, input=data, capture_output=True, check=True, timeout=60)
        return done.stdout

    def certificate(self, kind: str) -> bytes:
        file = self.folder / f"{kind}@hosp.test.pem"
        return load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)

    def private(self, kind: str) -> bytes:
        return self.privates[kind]


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with short_folder() as folder:
        outside = Smime(folder / "smime")
        for kind in OURS:
            outside.certificate(f"{kind}@hosp.test", kind)
        outside.certificate("other@hosp.test", "rsa")
        everyone = {kind: _private(outside.folder / f"{kind}@hosp.test") for kind in (*OURS, "other")}
        yield People(outside.folder, everyone)


def _private(file: Path) -> bytes:
    both = file.with_name(file.name + ".key").read_bytes() + file.with_name(file.name + ".pem").read_bytes()
    return SmimeKeys().read_private(both, "")[1]


def opened(data: bytes, private: bytes, *, triple_des: bool = False, most: int = MOST) -> tuple[bytes, Decrypted]:
    target = BytesIO(b"what stood here before, and is longer than what comes" * 1000)
    done = SmimeDecryptor(triple_des=triple_des).decrypt(BytesIO(data), target, private, [], most=most)
    return target.getvalue(), done


def refused(data: bytes, private: bytes, *, most: int = MOST) -> bool:
    """Tell whether it is refused as everything is: one text, and nothing left of the plaintext."""
    target = BytesIO()
    said: BaseException | None = None
    try:
        SmimeDecryptor().decrypt(BytesIO(data), target, private, [], most=most)
    except CryptoError as error:
        said = error
    assert said is None or (str(said), said.__cause__, target.getvalue()) == (UNDECRYPTABLE, None, b"")
    return said is not None


@pytest.mark.real
def test_told_apart(people: People) -> None:
    """What two recipients get of one envelope is told to be the same; what another envelope gives is not."""
    shared = people.encrypted("-aes-256-gcm", to=("rsa", "p256"))
    ours, theirs = (opened(shared, people.private(kind))[1].digest for kind in ("rsa", "p256"))
    again = opened(people.encrypted("-aes-256-gcm"), people.private("rsa"))[1].digest

    assert ours == theirs
    assert ours != again


@pytest.mark.real
@pytest.mark.parametrize(
    "cipher", ["-aes128", "-aes192", "-aes256", "-aes-128-gcm", "-aes-192-gcm", "-aes-256-gcm"]
)
@pytest.mark.parametrize(
    ("kind", "form"), [("rsa", ()), ("p256", ("-stream", "-keyid")), ("p384", ()), ("p521", ())]
)
def test_what_openssl_writes(people: People, cipher: str, kind: str, form: tuple[str, ...]) -> None:
    """Every content cipher to every kind of key, in DER and streamed, opens byte for byte."""
    plain, done = opened(people.encrypted(cipher, *form, to=[kind]), people.private(kind))

    assert plain == PLAIN
    assert done.intact is cipher.endswith("gcm")
    assert done.verification.status == "none"


@pytest.mark.real
@pytest.mark.parametrize(
    ("digest", "mask"), [*zip(HASHES, HASHES, strict=True), ("sha256", "sha1"), ("sha1", "sha512")]
)
def test_oaep(people: People, digest: str, mask: str) -> None:
    """OAEP opens with every pair of hashes, which its parameters name or leave out."""
    options = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{mask}")
    data = people.encrypted("-aes256", *(word for one in options for word in ("-keyopt", one)))

    assert opened(data, people.private("rsa"))[0] == PLAIN


@pytest.mark.real
def test_oaep_with_a_label(people: People) -> None:
    """A label of OAEP is taken from the parameters."""
    options = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_label:0a0b0c")

    assert opened(people.encrypted("-aes256", *options), people.private("rsa"))[0] == PLAIN


@pytest.mark.real
@pytest.mark.parametrize(("digest", "cofactor"), [*((one, "0") for one in HASHES), ("sha1", "1"), ("sha384", "1")])
def test_key_derivation(people: People, digest: str, cofactor: str) -> None:
    """Key agreement opens with every hash of RFC 5753, standard and cofactor."""
    options = ("-keyopt", f"ecdh_kdf_md:{digest}", "-keyopt", f"ecdh_cofactor_mode:{cofactor}")
    data = people.encrypted("-aes128", *options, to=["p256"])

    assert opened(data, people.private("p256"))[0] == PLAIN


@pytest.mark.real
def test_each_of_several_recipients(people: People) -> None:
    """A message to keys of every kind opens with each of them, and with no other."""
    data = people.encrypted("-aes256", to=KINDS)

    assert all(opened(data, people.private(kind))[0] == PLAIN for kind in KINDS)
    assert refused(data, people.private("other"))
    assert refused(people.encrypted("-aes256", to=["rsa"]), people.private("p256"))


@pytest.mark.real
def test_triple_des_only_by_setting(people: People) -> None:
    """Triple DES opens where the setting allows it, and else not."""
    data = people.encrypted("-des3")

    assert refused(data, people.private("rsa"))
    assert opened(data, people.private("rsa"), triple_des=True)[0] == PLAIN


@pytest.mark.real
def test_sizes(people: People) -> None:
    """Nothing at all and several megabytes open; more than was asked for does not."""
    large = bytes(range(256)) * (20 << 10)
    for data in (b"", large):
        for cipher in ("-aes256", "-aes-256-gcm"):
            if data or cipher == "-aes256":  # OpenSSL leaves the content out where GCM has none
                assert opened(people.encrypted(cipher, "-stream", data=data), people.private("rsa"))[0] == data
    assert refused(people.encrypted("-aes-256-gcm", data=large), people.private("rsa"), most=len(large) - 1)


@pytest.mark.real
@pytest.mark.parametrize("form", [(), ("-stream",)])
@pytest.mark.parametrize("cipher", ["-aes256", "-aes-256-gcm"])
def test_memory(people: People, tmp_path: Path, cipher: str, form: tuple[str, ...]) -> None:
    """However large a message is, opening it takes little memory: neither it nor its plaintext is held whole."""
    size = 24 << 20
    (tmp_path / "sealed").write_bytes(people.encrypted(cipher, *form, data=bytes(size)))
    with (tmp_path / "sealed").open("rb") as source, (tmp_path / "opened").open("wb") as target:
        tracemalloc.start()
        try:
            SmimeDecryptor().decrypt(source, target, people.private("rsa"), [], most=2 * size)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert (tmp_path / "opened").stat().st_size == size
    assert peak < 4 << 20


def sealed(people: People, plain: bytes, cipher: str, kinds: Sequence[str], *, oaep: bool = False) -> bytes:
    """Encrypt as the gateway does."""
    certificates = [people.certificate(kind) for kind in kinds]
    return b"".join(Enveloper(cipher=cipher, oaep=oaep).envelop([plain], certificates, lambda: None)[1])


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=5000), st.sampled_from(sorted(CIPHERS)), st.sampled_from(OURS), st.booleans())
def test_what_we_write_we_open(people: People, plain: bytes, cipher: str, kind: str, oaep: bool) -> None:
    """Decrypting what was encrypted gives it back, whatever it is, in every way that we encrypt."""
    if not plain and cipher.endswith("gcm"):
        return  # content without an octet is no envelope
    data = sealed(people, plain, cipher, ["other", kind], oaep=oaep)

    assert opened(data, people.private(kind))[0] == plain
    assert refused(data[:-1], people.private(kind))
    assert refused(data + b"\0", people.private(kind))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_octets(people: People, data: st.DataObject) -> None:
    """A message proved by GCM opens as it was or not at all; no change raises anything but the one error."""
    kind = data.draw(st.sampled_from(("rsa", "p256", "x25519")))
    cipher = data.draw(st.sampled_from(("aes256-gcm", "aes128-cbc")))
    message = bytearray(sealed(people, PLAIN, cipher, [kind]))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))

    refused(bytes(message), people.private(kind))  # looks at how it is refused, if it is
    with suppress(CryptoError):  # a second time: a random key, where none is found, may fit CBC's padding
        plain, done = opened(bytes(message), people.private(kind))
        assert (not done.intact) if cipher.endswith("cbc") else (plain == PLAIN)


@settings(max_examples=100, deadline=None)
@given(st.binary())
def test_rubbish(people: People, data: bytes) -> None:
    """Octets that are no envelope are refused as everything is."""
    assert refused(data, people.private("rsa"))


def test_a_proved_message_is_not_read_as_an_unproved_one(people: People) -> None:
    """Content of AuthEnvelopedData is not opened as EnvelopedData, nor with a shorter code or another cipher."""
    message = sealed(people, PLAIN, "aes256-gcm", ["rsa"])
    auth, plain = (
        b"\x06\x0b" + bytes.fromhex("2a864886f70d0109100117"),
        b"\x06\x09" + bytes.fromhex("2a864886f70d010703"),
    )
    gcm, cbc = bytes.fromhex("60864801650304012e"), bytes.fromhex("60864801650304012a")
    private = people.private("rsa")

    assert opened(message, private)[0] == PLAIN
    assert refused(message.replace(auth, plain), private)
    assert refused(message.replace(gcm, cbc), private)
    assert refused(message.replace(b"\x02\x01\x10\x80", b"\x02\x01\x0c\x80"), private)
    assert refused(sealed(people, PLAIN, "aes256-cbc", ["rsa"]).replace(cbc, gcm), private)


def test_wrong_padding_looks_like_a_wrong_key(people: People) -> None:
    """Where RSA or key wrap fail, the content is tried all the same, with a random key."""
    for kind in ("rsa", "p256", "x25519"):
        message = sealed(people, PLAIN, "aes256-gcm", [kind])
        place = message.index(bytes.fromhex("06092a864886f70d010701")) - 20  # within the encrypted key
        assert refused(message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :], people.private(kind))


def test_cbc_with_a_code_behind_it_is_not_opened(people: People) -> None:
    """AuthEnvelopedData is opened by GCM alone: CBC does not pass for proved with some octets as its code."""
    data = sealed(people, PLAIN, "aes256-cbc", ["rsa"])
    parts = der.content(der.content(data)[len(der.oid("1.2.840.113549.1.7.3")) :])
    inside = der.sequence(der.content(parts), der.octets(bytes(16)))
    whole = der.sequence(der.oid("1.2.840.113549.1.9.16.1.23"), der.explicit(0, inside))

    assert cms.is_enveloped(whole)
    assert refused(whole, people.private("rsa"))
