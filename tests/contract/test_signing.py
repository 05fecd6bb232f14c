"""
Signatures in mail: what is signed here, OpenSSL, gpgsm and gpg verify.

They judge whole messages, taken apart by themselves (OpenSSL) or by the standard library (the others).
"""

import email
import io
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path
from typing import IO

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from lab.gpg import Gpg
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto import capabilities, der, multipart_signed
from gatepost.crypto.gnupg_engine import GnupgDecryptor
from gatepost.crypto.openpgp_signer import OpenpgpSigner
from gatepost.crypto.own_signature import Signature
from gatepost.crypto.private_key import load
from gatepost.crypto.signed_writer import SmimeSigner
from gatepost.errors import CryptoError
from gatepost.message.body import Body, MemoryBody, Spool
from gatepost.message.field import Field
from gatepost.message.seven_bit import safe

pytestmark = pytest.mark.real
TEXT = (Field(b"Content-Type", b" text/plain; charset=utf-8"), Field(b"Content-Transfer-Encoding", b" 8bit"))
BODY = "Grüße,\r\nFrom here on: one \r\n.\r\n".encode() + b"x" * 2000
MICALG = {"rsa": "sha-256", "p256": "sha-256", "p384": "sha-384", "p521": "sha-512", "ed25519": "sha-512"}
AT_GPGSM = ("rsa", "p256", "p384")  # gpgsm 2.2 knows neither P-521's hash nor Ed25519


@dataclass(frozen=True, slots=True)
class World:
    """People of ours with keys of every kind; their private halves as they are kept."""

    smime: Smime
    gpg: Gpg

    def private(self, kind: str) -> bytes:
        """Give the private half of the one with that kind of key."""
        name = self.smime.folder / f"{kind}@hosp.test"
        found = x509.load_pem_x509_certificate(name.with_name(name.name + ".pem").read_bytes())
        key = load_pem_private_key(name.with_name(name.name + ".key").read_bytes(), None)
        pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return found.public_bytes(Encoding.DER) + pkcs8


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with short_folder() as folder:
        smime = Smime(folder / "smime")
        for kind in MICALG:
            smime.certificate(f"{kind}@hosp.test", kind)
        smime.certificate("cipher@hosp.test", "rsa", "keyUsage=keyEncipherment")
        smime.certificate("tls@hosp.test", "rsa", "extendedKeyUsage=serverAuth")
        gpg = Gpg(folder / "gpg")
        yield World(smime, gpg)
        gpg.close()


def _entity(body: bytes = BODY) -> Body:
    return multipart_signed.entity(*safe(TEXT, MemoryBody(body)))


def _message(entity: Body, signature: Signature, kind: str) -> bytes:
    fields, body = multipart_signed.enclose(entity, signature, kind)
    return b"From: a@hosp.test\r\n" + b"".join(field.wire() for field in fields) + b"\r\n" + body.read()


def _signature_in(message: bytes) -> bytes:
    """Give the signature of a message as another parser finds it."""
    found = email.message_from_bytes(message).get_payload(1).get_payload(decode=True)  # type: ignore[union-attr]
    assert isinstance(found, bytes)
    return found


@pytest.mark.parametrize("pss", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in MICALG if kind != "ed25519"])
def test_openssl_verifies(world: World, kind: str, pss: bool) -> None:
    """Every kind of key, and both paddings of RSA, verify over a message as it leaves."""
    entity = _entity()
    signature = SmimeSigner(load, pss=pss).sign(io.BytesIO(entity.read()), world.private(kind))
    message = _message(entity, signature, "smime")

    assert world.smime.verify(message, f"{kind}@hosp.test") == entity.read()
    assert signature.micalg == MICALG[kind]
    assert f"micalg={MICALG[kind]}".encode() in message
    with pytest.raises(RuntimeError, match=r"erif|digest"):
        world.smime.verify(message.replace(b"one", b"two"), f"{kind}@hosp.test")


def test_ed25519(world: World) -> None:
    """An Ed25519 signature is over the signed attributes, as RFC 8419 has it, and those are over the content."""
    entity = _entity()
    signed = SmimeSigner(load).sign(io.BytesIO(entity.read()), world.private("ed25519")).data
    content = der.content(list(der.parts(der.content(signed)))[1][1])
    (_, _, signer), *_ = der.parts(list(der.parts(der.content(content)))[-1][2])
    info = list(der.parts(signer))
    attributes = next(whole for tag, whole, _ in info if tag == 0xA0)
    certificate = x509.load_pem_x509_certificate((world.smime.folder / "ed25519@hosp.test.pem").read_bytes())
    public = certificate.public_key()

    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(info[-1][2], b"\x31" + attributes[1:])
    assert sha512(entity.read()).digest() in attributes


@pytest.mark.parametrize("kind", AT_GPGSM)
def test_gpgsm_verifies(world: World, kind: str, tmp_path: Path) -> None:
    """For gpgsm the signature good, made with the certificate that it brings."""
    entity = _entity()
    message = _message(entity, SmimeSigner(load).sign(io.BytesIO(entity.read()), world.private(kind)), "smime")
    (tmp_path / "signature").write_bytes(_signature_in(message))
    (tmp_path / "entity").write_bytes(entity.read())
    with short_folder() as home:
        words = ("--homedir", str(home), "--batch", "--disable-crl-checks", "--status-fd", "1", "--verify")
        done = subprocess.run(
            ["gpgsm", *words, "signature", "entity"], cwd=tmp_path, capture_output=True, check=False, timeout=60
        )
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)

    assert b"[GNUPG:] GOODSIG" in done.stdout


def test_what_is_announced(world: World) -> None:
    """The signature tells what is opened here, best first, and when and with which certificate it was made."""
    signed = SmimeSigner(load).sign(io.BytesIO(b"x"), world.private("p256")).data
    told = world.smime.printed(signed)

    assert capabilities.OURS in signed
    for name in ("signingTime", "messageDigest", "contentType", "S/MIME Capabilities", "signingCertificateV2"):
        assert name in told
    found = capabilities.announced(capabilities.OURS)
    assert {der.oid(f"2.16.840.1.101.3.4.1.{number}") for number in (2, 6, 42, 46)} == found


@pytest.mark.parametrize(("name", "why"), [("cipher", "key usage"), ("tls", "e-mail")])
def test_certificates_that_must_not_sign(world: World, name: str, why: str) -> None:
    """A certificate that is for other things does not sign, and says why."""
    with pytest.raises(CryptoError, match=why):
        SmimeSigner(load).sign(io.BytesIO(b"x"), world.private(name))


def test_intermediate_certificates_travel(world: World) -> None:
    """Certificates that are kept behind the key are in the signature."""
    other = (world.smime.folder / "rsa@hosp.test.pem").read_bytes()
    more = x509.load_pem_x509_certificate(other).public_bytes(Encoding.DER)
    entity = _entity()
    signature = SmimeSigner(load).sign(io.BytesIO(entity.read()), world.private("p256") + more)

    assert more in signature.data
    assert world.smime.verify(_message(entity, signature, "smime"), "p256@hosp.test") == entity.read()


class Counted:
    """Signs with gpg, and counts how often."""

    def __init__(self) -> None:
        self.engine = GnupgDecryptor()
        self.signed = 0

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        self.signed += 1
        return self.engine.sign(source, private)


@pytest.fixture
def counted() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.engine.close()


@pytest.mark.parametrize(
    ("kind", "size", "by_gpg"),
    [
        ("future-default", 1, False),
        ("nistp384", 1, False),
        ("future-default", 300 << 10, True),
        ("rsa3072", 1, True),
    ],
)
def test_gpg_verifies(world: World, counted: Counted, kind: str, size: int, by_gpg: bool) -> None:
    """With gpg one verifies a signature in PGP/MIME, whichever engine made it; RSA is gpg's."""
    fingerprint = world.gpg.key(f"{kind}@hosp.test", kind)
    entity = _entity(b"x" * 70 + b"\r\n" + bytes(size))
    private = world.gpg.run("--export-secret-keys", fingerprint).stdout
    signature = OpenpgpSigner(counted).sign(io.BytesIO(entity.read()), private)
    message = _message(entity, signature, "openpgp")

    assert counted.signed == by_gpg
    assert f"micalg={signature.micalg};".encode() in message
    assert signature.micalg.removeprefix("pgp-").encode() in world.gpg.digest_of(_signature_in(message))
    assert world.gpg.verify(entity.read(), _signature_in(message)) == (fingerprint,)
    assert not world.gpg.verify(entity.read() + b"x", _signature_in(message))


@pytest.mark.parametrize("kind", ["future-default", "rsa3072"])
def test_keys_that_must_not_sign(world: World, counted: Counted, kind: str) -> None:
    """An expired key and a revoked one sign nothing, nor does what is no key."""
    expired = world.gpg.key(f"Expired <expired-{kind}@hosp.test>", kind)
    world.gpg.run("--quick-set-expire", expired, "seconds=1")
    time.sleep(2)
    kept = world.gpg.run("--export-secret-keys", expired).stdout
    for private in (kept, b"", b"x"):
        with pytest.raises(CryptoError):
            OpenpgpSigner(counted).sign(io.BytesIO(b"x"), private)
    assert counted.signed == 2  # the expired key was not even tried


def test_a_large_entity(world: World, tmp_path: Path) -> None:
    """Megabytes are signed as they lie in a file."""
    body = Spool(tmp_path)
    for _ in range(100):
        body.write(b"0123456789abcdef\r\n" * 5000)
    entity = multipart_signed.entity((), body, tmp_path)
    assert isinstance(entity, Spool)
    assert entity.file is not None
    signature = SmimeSigner(load).sign(entity.file, world.private("p256"))

    assert world.smime.verify(_message(entity, signature, "smime"), "p256@hosp.test") == entity.read()
