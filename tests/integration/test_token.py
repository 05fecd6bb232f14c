"""
Mail encrypted by OpenSSL to keys that lie on a token (SoftHSM), through a real Postfix.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.letter import canary, letter
from lab.place import short_folder
from lab.smime import Smime
from lab.softhsm import MODULE, PIN, SoftHsm
from lab.town import OWN, Town, town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

KIM, DOC = "kim@plain.test", f"doc@{OWN}"


@dataclass(frozen=True)
class Place:
    """A town whose gateway has a token with two keys: doc's RSA key, and the domain's on P-256."""

    town: Town
    hsm: SoftHsm
    smime: Smime

    def message(self, to: str, word: str) -> bytes:
        """Encrypt to a certificate, as kim does."""
        entity = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{word}\r\n".encode()
        cms = base64.encodebytes(self.smime.encrypt(entity, to)).replace(b"\n", b"\r\n")
        line = "Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data; name=smime.p7m"
        fields = ("MIME-Version: 1.0", line, "Content-Transfer-Encoding: base64")
        return letter(cms, sender=KIM, to=DOC, fields=fields)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        hsm, smime = SoftHsm(folder / "hsm"), Smime(folder / "smime")
        for name, value in hsm.environment.items():
            patch.setenv(name, value)
        with town(folder) as built:
            pin = built.site.folder / "secrets" / "pkcs11-pin"
            pin.touch(0o600)
            pin.write_text(PIN)
            built.site.set("keys.pkcs11_module", MODULE)
            for whose, kind in ((DOC, "rsa"), (OWN, "p256")):
                file, uri = smime.certificate(whose, kind), hsm.put(smime.folder / f"{whose}.key", kind)
                built.site.gatepost("key", "import", "--private", "--pkcs11", uri, file, "--for", whose)
            built.site.restart()
            yield Place(built, hsm, smime)


@pytest.mark.parametrize("whom", [DOC, OWN])
def test_opened(place: Place, whom: str) -> None:
    """A message to a person's RSA key, and one to the domain's EC key, arrive decrypted."""
    place.town.clear()
    assert place.town.send_from_outside(KIM, DOC, message=place.message(whom, word := canary())).ok
    (got,) = place.town.inside.wait_for(1)

    assert got.body == f"{word}\r\n".encode()
    assert "decrypted=smime" in got.values("Gatepost-Result")[0]


def test_the_token_is_away(place: Place) -> None:
    """While the token is gone, mail waits outside, and doctor tells; when it is back, the mail is opened."""
    place.town.clear()
    message = place.message(DOC, word := canary())
    with place.hsm.taken_away():
        outcome = place.town.send_from_outside(KIM, DOC, message=message)
        checks = place.town.site.gatepost("doctor", check=False).stdout
    assert outcome.reply.temporary
    assert "pkcs11:token=gateway;object=rsa cannot be reached" in checks

    assert place.town.send_from_outside(KIM, DOC, message=message).ok
    (got,) = place.town.inside.wait_for(1)
    assert word.encode() in got.body
    assert "ok    key pkcs11:token=gateway;object=rsa" in place.town.site.gatepost("doctor", check=False).stdout


def test_what_is_kept(place: Place) -> None:
    """The list shows where the keys are; no key is in the site's files."""
    rows = place.town.site.json("key", "list")["keys"]
    sources = {row["source"] for row in rows if row["own"] and row["kind"] == "smime"}
    assert sources == {"pkcs11:token=gateway;object=rsa", "pkcs11:token=gateway;object=p256"}

    octets = (place.smime.folder / f"{DOC}.octets").read_bytes()[-60:]  # of the private key itself
    assert not [one for one in place.town.site.folder.rglob("*") if one.is_file() and octets in one.read_bytes()]
