"""
Signed mail through a real Postfix, with DKIM after Gatepost: the receivers' bytes verify with OpenSSL and gpg.

Sue has a certificate, and the domain an OpenPGP key. Postfix hands mail for seven.test to a server that takes
7-bit mail only, and encodes anew for it whatever is not.
"""

import base64
import email
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.dkim import Signer
from lab.gpg import Gpg
from lab.letter import letter, multipart, part, pgp_mime, signed_parts
from lab.place import short_folder
from lab.sink import EXTENSIONS, Received, Sink
from lab.smime import Smime
from lab.town import OWN, Town, town
from lab.wait import until

from gatepost.crypto import multipart_signed
from gatepost.crypto.private_key import load
from gatepost.crypto.signed_writer import SmimeSigner
from gatepost.message.body import MemoryBody

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SUE, TOM = f"sue@{OWN}", f"tom@{OWN}"
SAM, EVA, MAX, ANN = "sam@smime.test", "eva@smime.test", "max@smime.test", "ann@pgp.test"
BOB, SEVEN = "bob@plain.test", "sven@seven.test"
HTML = "<p>Grüße <img src='cid:a'>" + "x" * 1500 + "</p>\r\n"


@dataclass(frozen=True)
class Place:
    """A town whose mail to plain.test and seven.test is always signed, its people, and DKIM."""

    town: Town
    people: Smime
    dkim: Signer
    seven: Sink

    def arrived(self, address: str) -> Received:
        """Wait for what an address received; its DKIM signature must hold."""
        sink = self.seven if address == SEVEN else self.town.outside
        sink.wait_for_recipients([address])
        found = next(message for message in sink.messages if address in message.addresses)
        assert self.dkim.judge(found.data).endswith("succeeded")
        return found

    def signed(self, message: bytes) -> bytes:
        """Verify a message or an entity as signed by Sue's certificate or our domain's key; gives what it says."""
        kind = email.message_from_bytes(message)["Content-Type"]
        if "pkcs7-signature" in kind:
            return self.people.verify(message, SUE)
        assert 'protocol="application/pgp-signature"; micalg=pgp-sha' in kind
        entity, signature = signed_parts(message)
        assert self.town.gpg.verify(entity, signature) == (self.town.gpg.fingerprint(f"gatepost@{OWN}"),)
        return entity


@pytest.fixture(scope="module")
def built() -> Iterator[Place]:
    with (
        short_folder() as folder,
        Signer(folder / "dkim", OWN) as signer,
        Sink(name="seven", extensions=EXTENSIONS - {"8BITMIME", "SMTPUTF8"}) as seven,
        town(folder, postfix_settings={"smtpd_milters": signer.milter}) as lively,
    ):
        people = Smime(folder / "smime")
        lively.postfix.route("smime.test", lively.outside.port)
        lively.postfix.route("seven.test", seven.port)
        people.certificate(SUE, "rsa")
        lively.site.gatepost("key", "import", *map(people.certificate, (SAM, EVA, MAX)))
        lively.site.gatepost("key", "import", "--private", people.private(SUE))
        lively.site.gatepost("partner", "set", "pgp.test", "--sign", "")
        for pattern in ("plain.test", "seven.test"):
            lively.site.gatepost("partner", "add", pattern, "--sign", "always")
        lively.site.gatepost("partner", "add", EVA, "--sign", "never")
        lively.site.gatepost("partner", "add", MAX, "--cipher-floor", "aes256-gcm")
        yield Place(lively, people, signer, seven)


@pytest.fixture
def place(built: Place) -> Place:
    built.town.clear()
    built.seven.clear()
    return built


def _letters() -> dict[str, tuple[list[str], bytes]]:
    """Give content of many shapes: fields and body."""
    html = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{HTML}".encode()
    related, inner = multipart("related", html, part(os.urandom(3000), "image/png", "Content-ID: <a>"))
    text = "Content-Type: text/plain; charset=utf-8"
    return {
        "seven": (["Content-Type: text/plain"], b"hello\r\nthere\r\n"),
        "bare": ([], b"no content type at all\r\n"),
        "eight": ([text, "Content-Transfer-Encoding: 8bit"], "Grüße,\r\nFrom me\r\n-- \r\n.\r\nSue\r\n".encode()),
        "long": ([text], b"y" * 5000 + b"\r\n"),
        "html": ([related, "Content-Transfer-Encoding: 8bit"], inner),
    }


def _leaves(entity: bytes) -> list[tuple[str, bytes]]:
    parsed = email.message_from_bytes(entity)
    leaves = [leaf for leaf in parsed.walk() if not leaf.is_multipart()]
    contents = [leaf.get_payload(decode=True) for leaf in leaves]
    return [
        (
            leaf.get_content_type(),
            content.replace(b"\r\n", b"\n") if leaf.get_content_maintype() == "text" else content,
        )
        for leaf, content in zip(leaves, contents, strict=True)
        if isinstance(content, bytes)
    ]


@pytest.mark.parametrize("sender", [SUE, TOM])
@pytest.mark.parametrize("recipient", [BOB, SEVEN])
@pytest.mark.parametrize("shape", list(_letters()))
def test_clear_signed(place: Place, shape: str, recipient: str, sender: str) -> None:
    """What is signed in the open verifies at the receiver, and holds what was written; DKIM holds too."""
    fields, body = _letters()[shape]
    message = letter(body, sender=sender, fields=[*fields, "MIME-Version: 1.0"])
    assert place.town.send(sender, recipient, message=message).ok

    entity = place.signed(place.arrived(recipient).data)

    written = b"".join(field.encode() + b"\r\n" for field in fields) + b"\r\n" + body
    if shape in {"seven", "bare"}:
        assert entity == written
    assert _leaves(entity) == _leaves(written)


@pytest.mark.parametrize("recipient", [SAM, ANN])
@pytest.mark.parametrize("shape", list(_letters()))
def test_signed_and_encrypted(place: Place, shape: str, recipient: str) -> None:
    """What is encrypted holds a signature that verifies; what was 7-bit stands in it to the octet."""
    fields, body = _letters()[shape]
    message = letter(body, sender=SUE, subject="*secure* x", fields=[*fields, "MIME-Version: 1.0"])
    assert place.town.send(SUE, recipient, message=message).ok

    data = place.arrived(recipient).data
    opened = place.people.decrypt(data, SAM) if recipient == SAM else place.town.gpg.decrypt(data).data
    entity = place.signed(opened)

    written = b"".join(field.encode() + b"\r\n" for field in fields) + b"\r\n" + body
    if shape in {"seven", "bare"}:
        assert entity == written
    assert _leaves(entity) == _leaves(written)


def test_the_key_comes_along(place: Place) -> None:
    """Who gets OpenPGP gets our domain's key beside it, and can answer encrypted with nothing else."""
    assert place.town.send(SUE, ANN, message=letter(sender=SUE)).ok
    (field,) = place.arrived(ANN).values("Autocrypt")
    assert field.startswith(f"addr={SUE}; prefer-encrypt=mutual; keydata=")
    with short_folder() as folder:
        gpg = Gpg(folder / "gpg")
        gpg.import_key(base64.b64decode(field.partition("keydata=")[2]))
        answer = gpg.encrypt(b"answer", [f"gatepost@{OWN}"])
        gpg.close()
    line, body = pgp_mime(answer)
    assert place.town.send_from_outside(ANN, SUE, message=letter(body, sender=ANN, fields=[line])).ok
    place.town.inside.wait_for_recipients([SUE])
    assert b"answer" in place.town.inside.messages[0].body


def _kinds(place: Place, address: str) -> str:
    """Send tagged mail; give the smime-type that arrives."""
    place.town.clear()
    assert place.town.send(SUE, address, message=letter(sender=SUE, subject="*secure* x")).ok
    data = place.arrived(address).data
    assert place.people.decrypt(data, address)
    return str(email.message_from_bytes(data).get_param("smime-type"))


def test_what_a_correspondent_announced(place: Place) -> None:
    """Who signs mail that announces AES-GCM is answered so; who signs under another's name is not."""
    entity = multipart_signed.entity((), MemoryBody(b"hello\r\n"))
    signed = {}
    for name in (SAM, EVA):
        private = b"".join(place.people.der(name))
        fields, body = multipart_signed.enclose(
            entity, SmimeSigner(load).sign(io.BytesIO(entity.read()), private), "smime"
        )
        signed[name] = (tuple(field.wire().decode().strip() for field in fields), body.read())
    assert _kinds(place, SAM) == "enveloped-data"

    for name, sender in ((SAM, SAM), (EVA, SAM)):
        lines, body = signed[name]
        assert place.town.send_from_outside(sender, SUE, message=letter(body, sender=sender, fields=lines)).ok
    until(lambda: _kinds(place, SAM) == "authEnveloped-data", 30, "Sam gets what he announced")
    assert _kinds(place, EVA) == "enveloped-data"


def test_a_floor(place: Place) -> None:
    """Nothing weaker than the partner row's floor is sent, whatever the certificate and the settings say."""
    assert _kinds(place, MAX) == "authEnveloped-data"


def test_the_users_own_signature_stays(place: Place) -> None:
    """A message that its writer's program signed is passed, and encrypted, byte for byte."""
    line, body = multipart(
        "signed", b"\r\nhello \r\n", part(b"0", "application/pkcs7-signature"), boundary="users=own"
    )
    message = letter(body, sender=SUE, fields=[line, "MIME-Version: 1.0"])
    assert place.town.send(SUE, BOB, message=message).ok
    assert place.arrived(BOB).body == body

    tagged = letter(body, sender=SUE, subject="*secure* x", fields=[line, "MIME-Version: 1.0"])
    assert place.town.send(SUE, SAM, message=tagged).ok
    opened = place.people.decrypt(place.arrived(SAM).data, SAM)
    assert opened == line.encode() + b"\r\n\r\n" + body


def test_what_is_told(place: Place) -> None:
    """`explain` tells which copies are signed, and with what; the record of events tells it too."""
    plan = place.town.site.json("explain", "--from", SUE, "--to", BOB, "--to", f"doc@{OWN}")
    assert {copy["recipients"][0]: copy["signed"] for copy in plan["copies"]} == {BOB: True, f"doc@{OWN}": False}
    assert f"signed with certificate of {SUE}" in plan["recipients"][0]["reasons"]

    message = letter(sender=SUE, message_id="<told@hosp.test>")
    assert place.town.send(SUE, BOB, message=message).ok
    place.arrived(BOB)

    def told() -> str:
        return place.town.site.gatepost("why", "<told@hosp.test>", check=False).stdout

    until(lambda: f"signed with certificate of {SUE}" in told(), 10, told)


def test_a_row_that_wants_none(place: Place) -> None:
    """Whose row says `never` gets an encrypted message that holds exactly what was written."""
    assert place.town.send(SUE, EVA, message=letter("hello \r\n", sender=SUE, subject="*secure* x")).ok

    assert place.people.decrypt(place.arrived(EVA).data, EVA) == b"\r\nhello \r\n"


def test_the_key_worker_is_away(place: Place) -> None:
    """Without the key worker mail that is to be signed waits with its sender, and all other mail goes."""
    message = letter("waits\r\n", sender=SUE)
    site = place.town.site
    site.kill_service("keys")
    outcome, other = (place.town.send(SUE, to, message=message) for to in (BOB, "joe@smime.test"))
    until(lambda: site.service_pids("keys"), 30, "the key worker is started again")

    assert outcome.reply.temporary
    assert other.ok
    until(lambda: place.town.send(SUE, BOB, message=message).ok, 30, "it is taken later")
    assert place.signed(place.arrived(BOB).data).endswith(b"waits\r\n")
