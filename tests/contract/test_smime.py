"""
S/MIME encryption: what is written here, OpenSSL reads.

OpenSSL is the counterpart: it makes the certificates, and decrypts with the private halves.
"""

import email
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab.smime import READS_GCM, Smime

from gatepost.crypto import der
from gatepost.crypto.envelope import Enveloper
from gatepost.crypto.smime import Smime as SmimeMessages
from gatepost.crypto.x509 import X509Reader
from gatepost.errors import CryptoError
from gatepost.message.field import Field

pytestmark = pytest.mark.real
NAMES = {
    "rsa": ("rsa",),
    "rsa-gcm": ("rsa", READS_GCM),
    "p256": ("p256",),
    "p384": ("p384",),
    "p521-gcm": ("p521", READS_GCM),
}


@dataclass(frozen=True, slots=True)
class World:
    """Correspondents with a key of every kind."""

    smime: Smime

    def certificate(self, name: str) -> bytes:
        """Give a certificate in DER."""
        (found,) = X509Reader().read((self.smime.folder / f"{name}@clinic.test.pem").read_bytes())
        assert not found.refusal
        return found.data

    def decrypt(self, name: str, fields: tuple[Field, ...], body: bytes) -> bytes:
        """Decrypt a message as its recipient does; gives the entity inside."""
        message = b"".join(field.wire() for field in fields) + b"\r\n" + body
        return self.smime.decrypt(message, f"{name}@clinic.test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Give correspondents with a key of every kind."""
    smime = Smime(tmp_path_factory.mktemp("contract") / "smime")
    for name, (kind, *extensions) in NAMES.items():
        smime.certificate(f"{name}@clinic.test", kind, *extensions)
    return World(smime)


ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\nthe patient's data\r\n"


def _enclosed(enveloper: Enveloper, entity: bytes, certificates: list[bytes]) -> tuple[tuple[Field, ...], bytes]:
    pieces = [entity[start : start + 60_000] for start in range(0, len(entity), 60_000)]
    fields, body = SmimeMessages(enveloper).enclose(pieces, certificates, lambda: None)
    return fields, body.read()


@pytest.mark.parametrize("cipher", ["aes128-cbc", "aes256-cbc", "aes256-gcm"])
@pytest.mark.parametrize("oaep", [False, True])
@pytest.mark.parametrize("name", list(NAMES))
def test_openssl_reads_what_was_written(world: World, name: str, cipher: str, oaep: bool) -> None:
    """Every kind of key, cipher and padding decrypts with OpenSSL to exactly the octets that were encrypted."""
    fields, body = _enclosed(Enveloper(cipher=cipher, oaep=oaep), ENTITY, [world.certificate(name)])
    assert world.decrypt(name, fields, body) == ENTITY
    assert b"patient" not in body


def test_every_recipient_reads_it(world: World) -> None:
    """One message to several certificates, RSA and elliptic curves mixed, opens for each of them."""
    fields, body = _enclosed(Enveloper(), ENTITY, [world.certificate(name) for name in NAMES])
    assert all(world.decrypt(name, fields, body) == ENTITY for name in NAMES)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["rsa-gcm"], "authEnveloped-data"),
        (["rsa-gcm", "p521-gcm"], "authEnveloped-data"),
        (["rsa-gcm", "rsa"], "enveloped-data"),
        (["p256"], "enveloped-data"),
    ],
)
def test_gcm_where_all_announce_it(world: World, names: list[str], kind: str) -> None:
    """Content is protected against changes only where every certificate says that its owner can read that."""
    fields, body = _enclosed(Enveloper(), ENTITY, [world.certificate(name) for name in names])
    message = email.message_from_bytes(b"".join(field.wire() for field in fields) + b"\r\n")
    assert message.get_content_type() == "application/pkcs7-mime"
    assert message.get_param("smime-type") == kind
    assert all(world.decrypt(name, fields, body) == ENTITY for name in names)


def test_a_large_message(world: World, tmp_path: Path) -> None:
    """Twenty megabytes come through whole, in lines that mail servers carry."""
    entity = b"Content-Type: text/plain\r\n\r\n" + b"0123456789abcdef" * (20 << 16) + b"\r\n"
    pieces = (entity[start : start + 65_535] for start in range(0, len(entity), 65_535))
    fields, body = SmimeMessages(Enveloper(directory=tmp_path), tmp_path).enclose(
        pieces, [world.certificate("p256")], lambda: None
    )
    assert max(map(len, body.read().split(b"\r\n"))) == 76
    assert world.decrypt("p256", fields, body.read()) == entity


@given(st.binary(max_size=300), st.sampled_from(sorted(NAMES)), st.sampled_from(["aes128-cbc", "aes256-gcm"]))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content(world: World, entity: bytes, name: str, cipher: str) -> None:
    """Whatever the octets are, they are the same behind OpenSSL."""
    fields, body = _enclosed(Enveloper(cipher=cipher), entity, [world.certificate(name)])
    assert world.decrypt(name, fields, body) == entity


def test_nothing_is_encrypted_twice_alike(world: World) -> None:
    """The same content to the same certificate gives other octets each time: key and start are fresh."""
    first, second = (_enclosed(Enveloper(), ENTITY, [world.certificate("rsa")])[1] for _ in range(2))
    assert first != second


def test_nobody_to_encrypt_to() -> None:
    """An envelope that nobody can open is refused."""
    with pytest.raises(CryptoError, match="nobody"):
        _enclosed(Enveloper(), ENTITY, [])


@pytest.mark.parametrize("floor", ["", "aes128-cbc", "aes256-gcm"])
def test_what_mail_announced_counts(world: World, floor: str) -> None:
    """What a correspondent's mail announced wins over the certificate; the floor wins over both."""
    weak = der.sequence(der.sequence(der.oid("2.16.840.1.101.3.4.1.2")))
    someone = world.certificate("rsa-gcm")
    fields, body = SmimeMessages(Enveloper()).enclose(
        [ENTITY], [someone], lambda: None, announced={someone: weak}, floor=floor
    )

    assert (b"authEnveloped" in fields[0].value) is (floor == "aes256-gcm")
    assert world.decrypt("rsa-gcm", fields, body.read()) == ENTITY
