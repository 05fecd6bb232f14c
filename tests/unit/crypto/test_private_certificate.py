"""Private keys of S/MIME, read from the files that authorities and mail programs write."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto import der
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.errors import CryptoError

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl"),
]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as place:
        people = Smime(place / "smime")
        people.certificate("rsa", "rsa")
        people.certificate("ec", "p384")
        people.certificate("signer", "rsa", "keyUsage=digitalSignature")
        people.certificate("server", "rsa", "extendedKeyUsage=serverAuth")
        people.certificate("nothing", "rsa", "keyUsage=keyAgreement")
        yield people.folder


def openssl(folder: Path, *words: str) -> bytes:
    command = ("openssl", *words)
    return subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60).stdout


def certificate(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.pem").read_bytes()


def is_of(folder: Path, name: str, halves: tuple[bytes, bytes]) -> bool:
    """Tell whether what was read is that certificate, with its key behind it and no passphrase on it."""
    public, both = halves
    (_, first, _), (_, second, _) = der.parts(both)
    public_of = load_der_private_key(second, None).public_key().public_bytes
    there = openssl(folder, "x509", "-in", f"{name}.pem", "-noout", "-pubkey")
    expected = openssl(folder, "x509", "-in", f"{name}.pem", "-outform", "DER")
    pem = public_of(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public == first == expected and pem.strip() == there.strip()


@pytest.mark.parametrize("name", ["rsa", "ec", "signer"])
@pytest.mark.parametrize("form", ["pkcs8", "traditional", "locked", "old-locked", "pkcs12", "bags"])
def test_every_form(folder: Path, name: str, form: str) -> None:
    """PKCS #8, PKCS #1 and SEC 1 beside the certificate, with and without passphrase, and PKCS #12 are read."""
    key, own = f"{name}.key", certificate(folder, name)
    command, traditional = ("ec", ()) if name == "ec" else ("rsa", ("-traditional",))
    locked = ("-aes256", "-passout", "pass:word")
    match form:
        case "pkcs8":
            data = own + (folder / key).read_bytes()
        case "traditional":
            data = openssl(folder, command, "-in", key, *traditional) + own
        case "locked":
            data = openssl(folder, "pkcs8", "-topk8", "-in", key, "-v2", "aes256", "-passout", "pass:word") + own
        case "old-locked":
            data = openssl(folder, command, "-in", key, *traditional, *locked) + own
        case _:
            data = openssl(
                folder, "pkcs12", "-export", "-inkey", key, "-in", f"{name}.pem", "-passout", "pass:word"
            )
    if form == "bags":
        (folder / "bags.p12").write_bytes(data)
        data = openssl(folder, "pkcs12", "-in", "bags.p12", "-nodes", "-passin", "pass:word")

    assert is_of(folder, name, SmimeKeys().read_private(data, "word" if form in _LOCKED else ""))
    if form in _LOCKED:
        for wrong in ("", "wrong"):
            with pytest.raises(CryptoError, match="pass"):
                SmimeKeys().read_private(data, wrong)


_LOCKED = {"locked", "old-locked", "pkcs12"}


def test_its_own_certificate_among_others(folder: Path) -> None:
    """Of several certificates the key's own is taken, wherever it stands."""
    key = (folder / "ec.key").read_bytes()
    chain = certificate(folder, "rsa") + key + certificate(folder, "ec")

    assert is_of(folder, "ec", SmimeKeys().read_private(chain, ""))


def test_what_is_refused(folder: Path) -> None:
    """What lacks a half, holds two keys, or serves for no mail is refused with the reason and the remedy."""
    keys = {name: (folder / f"{name}.key").read_bytes() for name in ("rsa", "ec", "server", "nothing")}
    certificates = {name: certificate(folder, name) for name in keys}
    for data, said in (
        (keys["rsa"], "without its certificate.*PKCS #12"),
        (keys["rsa"] + certificates["ec"], "no certificate in the file belongs"),
        (keys["rsa"] + keys["ec"] + certificates["ec"], "one private key.*not 2"),
        (certificates["ec"], "one private key.*not 0"),
        (keys["server"] + certificates["server"], "e-mail"),
        (keys["nothing"] + certificates["nothing"], "key usage"),
        (keys["rsa"].replace(b"M", b"N", 1) + certificates["rsa"], "cannot be read"),
        (b"\x30\x03\x02\x01\x00", "PKCS #12"),
        (b"", "PKCS #12"),
    ):
        with pytest.raises(CryptoError, match=said):
            SmimeKeys().read_private(data, "")
