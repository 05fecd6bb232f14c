"""
Signed mail from outside, made by OpenSSL and gpg: verified on its way through Postfix, and delivered as it came.
"""

import base64
import time
from collections.abc import Iterator

import pytest
from lab.letter import canary, letter, multipart, part
from lab.place import short_folder
from lab.sink import Received
from lab.smime import Smime
from lab.town import OWN, Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

KIM, ANN, EVE, DOC = "kim@plain.test", "ann@plain.test", "eve@other.test", f"doc@{OWN}"


@pytest.fixture(scope="module")
def smime(shared_town: Town) -> Iterator[Smime]:
    """Give ann, whose certificate is pinned, eve, whose is not, and doc, whose key the site holds."""
    with short_folder() as folder:
        people = Smime(folder / "smime")
        for address in (ANN, EVE, DOC):
            people.certificate(address)
        shared_town.site.gatepost("key", "import", people.folder / f"{ANN}.pem")
        shared_town.site.gatepost("key", "import", "--private", people.private(DOC))
        time.sleep(2.5)  # whose keys were asked for before is remembered for two seconds
        yield people
        for row in shared_town.site.json("key", "list")["keys"]:
            if row["kind"] == "smime" and row["owner"] in {ANN, DOC}:
                shared_town.site.gatepost("key", "remove", row["fingerprint"])


def entity(word: str, text: str = "Gr\u00fc\u00dfe \r\n.dot\r\n") -> bytes:
    return f"Content-Type: text/plain; charset=utf-8\r\n\r\n{word} {text}".encode()


def multipart_signed(
    content: bytes, signature: bytes, protocol: str, encoding: str = "base64"
) -> tuple[str, bytes]:
    second = f"Content-Type: application/{protocol}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    line, body = multipart("signed", content, second + signature)
    return f'{line}; protocol="application/{protocol}"; micalg=sha-256', body


def by_certificate(smime: Smime, content: bytes, address: str) -> tuple[str, bytes]:
    made = smime.signature(content, address)
    return multipart_signed(content, base64.encodebytes(made).replace(b"\n", b"\r\n"), "pkcs7-signature")


def by_key(town: Town, content: bytes) -> tuple[str, bytes]:
    made = town.gpg.signature(content, KIM)
    return multipart_signed(content, made.replace(b"\n", b"\r\n"), "pgp-signature", "7bit")


def arrived(town: Town, signed: tuple[str, bytes], sender: str) -> Received:
    line, body = signed
    message = letter(body, sender=sender, to=DOC, fields=["MIME-Version: 1.0", line])
    town.clear()
    assert town.send_from_outside(sender, DOC, message=message).ok
    return town.inside.wait_for(1)[0]


def told(message: Received) -> str:
    return " ".join((*message.values("Gatepost-Result"), *message.values("Authentication-Results")))


def test_by_certificate(the_town: Town, smime: Smime) -> None:
    """S/MIME in clear mail passes for the author's certificate, and arrives byte for byte."""
    line, body = by_certificate(smime, entity(canary()), ANN)
    got = arrived(the_town, (line, body), ANN)

    assert f"decrypted=no; signed=pass by={ANN} key=" in told(got)
    assert "trust=admin" in told(got)
    assert f"smime=pass header.from={ANN} body.smime-part=2" in told(got)
    assert got.body == body
    assert got.values("Content-Type") == [line.partition(": ")[2]]

    assert "signed=fail" in told(arrived(the_town, by_certificate(smime, entity(canary()), EVE), ANN))
    assert "signed=fail" in told(arrived(the_town, (line, body.replace(b" \r\n.dot", b"\r\n.dot")), ANN))


@pytest.mark.parametrize("size", [0, 3 << 20])
def test_by_key(the_town: Town, size: int) -> None:
    """PGP/MIME in clear mail passes for the author's key, of any size."""
    content = entity(canary(), "x" * 70 + "\r\n") + (b"y" * 70 + b"\r\n") * (size // 72)
    line, body = by_key(the_town, content)
    got = arrived(the_town, (line, body), KIM)

    assert f"signed=pass by={KIM} key={the_town.gpg.fingerprint(KIM)} trust=admin" in told(got)
    assert f"pgp=pass header.from={KIM}" in told(got)
    assert got.body == body
    assert "signed=fail" in told(arrived(the_town, (line, body.replace(b"xx\r\n", b"xy\r\n")), KIM))
    assert "signed=fail" in told(arrived(the_town, (line, body), ANN))


@pytest.mark.parametrize("options", [("-aes-256-gcm",), ("-aes-256-gcm", "-stream")])
def test_signed_and_encrypted(the_town: Town, smime: Smime, options: tuple[str, ...]) -> None:
    """What was signed and then encrypted passes: opaque content is unwrapped, a multipart stays."""
    content = entity(word := canary())
    opaque = part(smime.sign(content, ANN), "application/pkcs7-mime; smime-type=signed-data")
    line, body = by_certificate(smime, content, ANN)
    for signed, expected in (
        (opaque, content.partition(b"\r\n\r\n")[2]),
        (f"{line}\r\n\r\n".encode() + body, body),
    ):
        cms = base64.encodebytes(smime.encrypt(signed, DOC, options=options)).replace(b"\n", b"\r\n")
        kind = "Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data"
        message = letter(
            cms, sender=ANN, to=DOC, fields=["MIME-Version: 1.0", kind, "Content-Transfer-Encoding: base64"]
        )
        the_town.clear()
        assert the_town.send_from_outside(ANN, DOC, message=message).ok
        got = the_town.inside.wait_for(1)[0]
        assert f"decrypted=smime; signed=pass by={ANN}" in told(got)
        assert "unauthenticated" not in told(got)
        assert "[unverified]" not in got.values("Subject")[0]
        assert got.body == expected
        assert word.encode() in got.data
