"""Private keys on a token: they do what keys in this process do, and a token's fault is never a message's."""

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from lab.place import short_folder
from lab.smime import Smime
from lab.softhsm import MODULE, PIN, SoftHsm
from pkcs11.types import DecryptMixin, Key

from gatepost.crypto import private_key
from gatepost.crypto.envelope import Enveloper
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.openpgp import UNDECRYPTABLE
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.crypto.private_key import Scheme, Signing
from gatepost.crypto.token import Tokens
from gatepost.errors import CryptoError, WorkerError

pytestmark = pytest.mark.real

PLAIN = b"Content-Type: text/plain\r\n\r\n" + bytes(range(256)) * 20
OPENING = ("rsa", "p256", "p384", "p521")


@dataclass(frozen=True)
class Site:
    """A token with keys, their certificates, and what is kept of them."""

    hsm: SoftHsm
    outside: Smime
    tokens: Tokens
    kept: dict[str, bytes]

    def certificate(self, kind: str) -> bytes:
        file = self.outside.folder / f"{kind}@hosp.test.pem"
        return load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)

    def encrypted(self, kind: str, *options: str) -> bytes:
        """Encrypt with openssl; `options` stand behind the recipient."""
        command = ("openssl", "cms", "-encrypt", "-binary", "-outform", "DER", "-aes-256-gcm")
        recipient = ("-recip", f"{kind}@hosp.test.pem", *options)
        folder = self.outside.folder
        done = subprocess.run(
            (*command, *recipient), cwd=folder, input=PLAIN, capture_output=True, check=True, timeout=60
        )
        return done.stdout

    def opened(self, data: bytes, kind: str) -> bytes:
        """Decrypt, with the key on the token."""
        target = BytesIO()
        SmimeDecryptor(load=self.tokens.load).decrypt(BytesIO(data), target, self.kept[kind], [], most=1 << 20)
        return target.getvalue()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        hsm, outside = SoftHsm(folder / "hsm"), Smime(folder / "smime")
        for name, value in hsm.environment.items():
            patch.setenv(name, value)
        tokens, kept = Tokens(MODULE, lambda: PIN), {}
        built = Site(hsm, outside, tokens, kept)
        outside.certificate("other@hosp.test", "p256")
        outside.certificate("rsa-pss@hosp.test", "rsa-pss")
        outside.certificate("ed25519@hosp.test", "ed25519")
        uri = hsm.put_signing(outside.folder / "ed25519@hosp.test.key", "ed25519")
        kept["ed25519"] = tokens.read_private(built.certificate("ed25519"), uri)
        for kind in OPENING:
            outside.certificate(f"{kind}@hosp.test", kind)
            uri = hsm.put(outside.folder / f"{kind}@hosp.test.key", kind)
            kept[kind] = tokens.read_private(built.certificate(kind), uri)
        yield built
        tokens.close()


@pytest.mark.parametrize("kind", OPENING)
def test_what_openssl_encrypts_opens(site: Site, kind: str) -> None:
    """A message to a certificate opens with its key on the token; what is kept holds no key."""
    assert site.opened(site.encrypted(kind), kind) == PLAIN
    assert site.kept[kind].endswith(b"pkcs11:token=gateway;object=" + kind.encode())


def test_oaep(site: Site) -> None:
    """OAEP opens where the token does it; where it does not, the message is refused as any other."""
    oaep = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt")

    assert site.opened(site.encrypted("rsa", *oaep, "rsa_oaep_md:sha1"), "rsa") == PLAIN
    with pytest.raises(CryptoError, match=UNDECRYPTABLE):  # SoftHSM 2.6 knows OAEP with SHA-1 alone
        site.opened(site.encrypted("rsa", *oaep, "rsa_oaep_md:sha256"), "rsa")


def test_another_certificates_message(site: Site) -> None:
    """A message to others is refused, and the token is not asked."""
    with site.hsm.taken_away(), pytest.raises(CryptoError, match=UNDECRYPTABLE):
        site.opened(site.encrypted("p256"), "rsa")


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_wrong_ciphertext_is_the_messages_fault(site: Site, kind: str) -> None:
    """What does not decrypt is refused with the one text, and the token still serves."""
    message = b"".join(Enveloper(cipher="aes256-gcm").envelop([PLAIN], [site.certificate(kind)], lambda: None)[1])
    place = message.index(bytes.fromhex("06092a864886f70d010701")) - 40  # within the encrypted key

    with pytest.raises(CryptoError, match=UNDECRYPTABLE):
        site.opened(message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :], kind)
    assert site.opened(message, kind) == PLAIN


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_token_that_goes_away(site: Site, kind: str) -> None:
    """While the token is gone, the error is temporary; when it is back, it serves."""
    message = site.encrypted(kind)
    assert site.opened(message, kind) == PLAIN
    with site.hsm.taken_away():
        for _ in range(2):
            with pytest.raises(WorkerError, match="cannot be reached"):
                site.opened(message, kind)
    assert site.opened(message, kind) == PLAIN


def test_a_token_that_fails_within_an_operation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that finds the key but no longer decrypts is not taken for a message with wrong padding."""
    own, key = site.tokens.load(site.kept["rsa"])
    assert isinstance(own.key, rsa.RSAPublicKey)
    hidden = private_key.hide(own.key, b"secret", None)
    assert key.decrypt(hidden, None) == b"secret"
    # a trial of ours that the token's key does not open stands for a token that opens nothing
    monkeypatch.setattr("gatepost.crypto.token.hide", lambda *_: bytes(255) + b"\2")

    with pytest.raises(WorkerError, match="failed"):
        key.decrypt(bytes(255) + b"\3", None)


class Failing(DecryptMixin):
    """A key that fails once, and works then."""

    def __init__(self, key: Key, error: Exception) -> None:
        assert isinstance(key, DecryptMixin)
        self._key = key
        self._errors = [error]

    def decrypt(
        self,
        data: bytes | Iterator[bytes],
        buffer_size: int = 8192,
        **how: Any,
    ) -> bytes | Iterator[bytes]:
        del buffer_size
        if self._errors:
            raise self._errors.pop()
        return self._key.decrypt(data, **how)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (pkcs11.DeviceRemoved, WorkerError),
        (pkcs11.SessionHandleInvalid, WorkerError),
        (pkcs11.GeneralError, ValueError),
        (pkcs11.EncryptedDataInvalid, ValueError),
        (pkcs11.FunctionFailed, ValueError),
        (pkcs11.DeviceError, ValueError),
    ],
)
def test_whose_fault_it_is(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: type[Exception], told: type[Exception]
) -> None:
    """What no message can bring about is the token's fault; what tokens say of wrong padding is the message's."""
    own, key = site.tokens.load(site.kept["rsa"])
    assert isinstance(own.key, rsa.RSAPublicKey)
    hidden, found = private_key.hide(own.key, b"secret", None), site.tokens._key
    with monkeypatch.context() as patch:
        patch.setattr(site.tokens, "_key", lambda place: Failing(found(place), error()))
        with pytest.raises(told, match=r"failed|no ciphertext"):
            key.decrypt(hidden, None)

    assert key.decrypt(hidden, None) == b"secret"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the library tells its ended search
def test_an_expired_session(site: Site) -> None:
    """A session that has ended is opened anew, and nobody notices."""
    message = site.encrypted("rsa")
    assert site.opened(message, "rsa") == PLAIN
    pkcs11.lib(MODULE).finalize()

    assert site.opened(message, "rsa") == PLAIN


def test_at_one_time(site: Site) -> None:
    """Many threads use the token's keys at one time."""
    messages = {kind: site.encrypted(kind) for kind in ("rsa", "p256")}
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda kind: site.opened(messages[kind], kind), ["rsa", "p256"] * 40)
        assert set(found) == {PLAIN}


def test_what_cannot_be_a_ciphertext(site: Site) -> None:
    """What has another length than the key's modulus, or is no smaller number, never reaches the token."""
    key = site.tokens.load(site.kept["rsa"])[1]
    with site.hsm.taken_away():
        for octets in (b"", bytes(255), bytes(257), b"\xff" * 256):
            with pytest.raises(ValueError, match="no ciphertext"):
                key.decrypt(octets, None)


@pytest.mark.parametrize(
    ("kind", "scheme", "options"),
    [
        ("rsa", Scheme.PKCS1, ()),
        ("rsa", Scheme.PSS, ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48")),
        ("p256", Scheme.ECDSA, ()),
        ("p521", Scheme.ECDSA, ()),
    ],
)
def test_openssl_verifies(site: Site, kind: str, scheme: Scheme, options: tuple[str, ...]) -> None:
    """OpenSSL takes what the token signs for good."""
    key = site.tokens.load(site.kept[kind])[1]
    folder = site.outside.folder
    (folder / "value").write_bytes(key.sign(b"what is signed", Signing(scheme, "sha384")))
    (folder / "data").write_bytes(b"what is signed")
    extract = ["openssl", "x509", "-in", f"{kind}@hosp.test.pem", "-noout", "-pubkey", "-out", "public"]
    subprocess.run(extract, cwd=folder, check=True, timeout=60)
    verify = ["openssl", "dgst", "-sha384", *options, "-verify", "public", "-signature", "value", "data"]

    assert subprocess.run(verify, cwd=folder, check=False, timeout=60, capture_output=True).returncode == 0


def test_ed25519(site: Site) -> None:
    """An Ed25519 key on a token signs, and does nothing else."""
    key = site.tokens.load(site.kept["ed25519"])[1]
    public = load_der_x509_certificate(site.certificate("ed25519")).public_key()
    assert isinstance(public, Ed25519PublicKey)

    public.verify(key.sign(b"what is signed", Signing(Scheme.ED25519)), b"what is signed")
    with pytest.raises(ValueError, match="does not decrypt"):
        key.decrypt(bytes(256), None)
    with pytest.raises(ValueError, match="does not agree"):
        key.exchange(bytes(32))


def test_a_wrong_pin_is_tried_once(site: Site) -> None:
    """A PIN that the token refuses is not tried again, before it locks the token."""
    asked: list[str] = []

    def pin() -> str:
        asked.append("wrong")
        return asked[-1]

    site.tokens.close()
    wrong = Tokens(MODULE, pin)
    for _ in range(5):
        with pytest.raises(WorkerError, match="PIN"):
            wrong.check("pkcs11:token=gateway;object=rsa")
    wrong.close()

    assert len(asked) == 1
    site.tokens.check("pkcs11:token=gateway;object=rsa")


def test_what_does_not_belong_is_refused(site: Site) -> None:
    """A certificate comes in only with its own key, one that may do what it is for."""
    site.hsm.put_signing(site.outside.folder / "p384@hosp.test.key", "signs")
    cases: list[tuple[str, str, type[Exception], str]] = [
        ("rsa", "object=p256", WorkerError, "CKA_DECRYPT|failed"),
        ("p256", "object=p384", WorkerError, "failed"),
        ("other", "object=p256", CryptoError, "another's"),
        ("rsa-pss", "object=rsa", CryptoError, "another's"),
        ("p384", "object=signs", WorkerError, "CKA_DERIVE"),
        ("p384", "object=nothing", WorkerError, "cannot be reached"),
        ("p384", "colour=red", CryptoError, "not understood"),
    ]
    for kind, place, error, said in cases:
        with pytest.raises(error, match=said):
            site.tokens.read_private(site.certificate(kind), f"pkcs11:token=gateway;{place}")


def test_a_module_that_is_none() -> None:
    """A module that cannot be loaded is told with its name."""
    for module in ("/nonexistent.so", "/etc/hostname"):
        with pytest.raises(WorkerError, match=module):
            Tokens(module, lambda: PIN).check("pkcs11:token=gateway;object=rsa")


def test_without_the_setting(site: Site) -> None:
    """Where no module is set, a key on a token is a fault of the site, and not a message's."""
    failing: list[Callable[[], object]] = [
        lambda: private_key.load(site.kept["rsa"]),
        lambda: SmimeDecryptor().decrypt(
            BytesIO(site.encrypted("rsa")), BytesIO(), site.kept["rsa"], [], most=1 << 20
        ),
    ]
    for one in failing:
        with pytest.raises(WorkerError, match="pkcs11_module"):
            one()


def test_software_keys_beside(site: Site) -> None:
    """Keys in this process are read by the same way."""
    kept = SmimeKeys().read_private(site.outside.private("p521@hosp.test").read_bytes(), "")[1]
    target = BytesIO()
    SmimeDecryptor(load=site.tokens.load).decrypt(BytesIO(site.encrypted("p521")), target, kept, [], most=1 << 20)
    assert target.getvalue() == PLAIN
