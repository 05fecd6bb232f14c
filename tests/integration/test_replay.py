"""
Captured mail, sent anew by whoever captured it, is not opened: the insider's answer would give it away.
"""

import base64
from collections.abc import Iterator

import pytest
from lab.letter import canary, letter, pgp_mime
from lab.place import short_folder
from lab.sink import Received
from lab.smime import Smime
from lab.town import OWN, Town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

KIM, EVE, DOC, SUE = "kim@plain.test", "eve@pgp.test", f"doc@{OWN}", f"sue@{OWN}"


@pytest.fixture(scope="module")
def smime(shared_town: Town) -> Iterator[Smime]:
    """Give the domain's certificate, whose private half the site holds."""
    with short_folder() as folder:
        people = Smime(folder / "smime")
        people.certificate(OWN, "rsa")
        shared_town.site.gatepost("key", "import", "--private", people.private(OWN), "--for", OWN)
        yield people
        for row in shared_town.site.json("key", "list")["keys"]:
            if row["kind"] == "smime" and row["own"]:
                shared_town.site.gatepost("key", "remove", row["fingerprint"])


def enclosed(town: Town, smime: Smime, kind: str, word: str) -> tuple[str, bytes]:
    """Encrypt a word to our domain; give the line of its Content-Type, with what follows it, and the body."""
    entity = f"Content-Type: text/plain\r\n\r\n{word}\r\n".encode()
    if kind == "openpgp":
        return pgp_mime(town.gpg.encrypt(entity, [town.gpg.fingerprint(OWN)]))
    line = (
        "Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data\r\nContent-Transfer-Encoding: base64"
    )
    return line, base64.encodebytes(smime.encrypt(entity, OWN)).replace(b"\n", b"\r\n")


def written(content: tuple[str, bytes], sender: str, to: str, *fields: str) -> bytes:
    line, body = content
    return letter(body, sender=sender, to=to, fields=["MIME-Version: 1.0", line, *fields])


def arrived(town: Town, content: tuple[str, bytes], *fields: str, sender: str, to: str) -> Received:
    """Have it come in from a sender, who stands in From too; give what arrived."""
    before = len(town.inside.messages)
    message = written(content, sender, to, *fields)
    assert town.send_from_outside(sender, to, message=message).ok
    return town.inside.wait_for(before + 1)[before]


@pytest.mark.parametrize("kind", ["openpgp", "smime"])
def test_captured_and_sent_anew(the_town: Town, smime: Smime, kind: str) -> None:
    """Under another From it stays encrypted for everybody, flagged; the first author's is opened again."""
    word = canary()
    content = enclosed(the_town, smime, kind, word)
    assert word.encode() in arrived(the_town, content, sender=KIM, to=DOC).body

    for to in (DOC, SUE):
        got = arrived(the_town, content, sender=EVE, to=to)
        (result,) = got.values("Gatepost-Result")
        assert "decrypted=no" in result
        assert result.endswith("flag=replayed")
        assert word.encode() not in got.data
        assert got.body == content[1]

    got = arrived(the_town, content, f"Reply-To: {EVE}", sender=KIM, to=DOC)
    assert word.encode() not in got.data
    for to in (DOC, SUE):
        assert word.encode() in arrived(the_town, content, sender=KIM, to=to).body


@pytest.mark.parametrize("kind", ["openpgp", "smime"])
def test_remembered_over_a_restart(the_town: Town, smime: Smime, kind: str) -> None:
    """A milter that is killed right after the first has arrived knows it all the same."""
    word = canary()
    content = enclosed(the_town, smime, kind, word)
    assert word.encode() in arrived(the_town, content, sender=KIM, to=DOC).body
    the_town.site.kill_service("milter")
    until(lambda: the_town.send_from_outside(EVE, DOC, message=written(content, EVE, DOC)).ok, 30, "it is taken")

    assert word.encode() not in the_town.inside.wait_for(2)[1].data
