"""
What a reader sees of our mail in a mail program: neomutt with gpgme and gpgsm, as Debian has them.

The screens lie in tests/golden/mail_clients. One that is missing is written, for you to look at.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.gpgsm import Gpgsm
from lab.letter import canary, letter, multipart, part
from lab.mailclient import MailClient
from lab.place import short_folder
from lab.smime import Smime
from lab.town import Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

GOLDEN = Path(__file__).parents[1] / "golden" / "mail_clients"
DOMAIN = "reader.test"
SAM, KIM, SUE = f"sam@{DOMAIN}", "kim@plain.test", "sue@hosp.test"


@dataclass(frozen=True, slots=True)
class Readers:
    """Outsiders with neomutt: kim, who has an OpenPGP key, and sam, who has a certificate."""

    town: Town
    client: MailClient

    def sees(self, address: str, message: bytes) -> str:
        """Have sue send a message, and give what the recipient sees of it."""
        assert self.town.send(SUE, address, message=message).ok
        self.town.outside.wait_for_recipients([address])
        (received,) = self.town.outside.messages
        assert b"CANARY" not in received.data
        return self.client.read(received.data)


@pytest.fixture(scope="module")
def readers(shared_town: Town) -> Iterator[Readers]:
    # what is signed here is what a reader should see; a row is known for two seconds
    shared_town.site.gatepost("partner", "set", KIM, "--sign", "protected")
    time.sleep(2.5)
    with short_folder() as folder:
        smime, gpgsm = Smime(folder / "smime"), Gpgsm(shared_town.gpg.folder)
        shared_town.postfix.route(DOMAIN, shared_town.outside.port)
        shared_town.site.gatepost("key", "import", smime.certificate(SAM, "rsa"))
        gpgsm.take(smime, SAM)
        smime.certificate(SUE, "rsa")
        shared_town.site.gatepost("key", "import", "--private", smime.private(SUE))
        gpgsm.know(smime, SUE)
        yield Readers(shared_town, MailClient(folder / "client", shared_town.gpg.folder))
        shared_town.site.gatepost("partner", "set", KIM, "--sign", "never")
        for row in shared_town.site.json("key", "list")["keys"]:
            if row["owner"] in {SAM, SUE}:
                shared_town.site.gatepost("key", "remove", row["fingerprint"])


def _text() -> bytes:
    text = f"{canary()}\r\n\r\nDie Gr\u00f6\u00dfe: 3 \u2264 x\r\n-- \r\nSue\r\n"
    fields = ("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")
    return letter(text.encode(), subject="*secure* results", fields=fields)


def _attached() -> bytes:
    text = part(f"{canary()}\n\nsee the picture\n".encode(), "text/plain; charset=utf-8")
    file = part(b"%PDF-1.7", "application/pdf", 'Content-Disposition: attachment; filename="b\u00e4r.pdf"')
    line, body = multipart("mixed", text, file)
    return letter(
        body,
        subject="*secure* =?utf-8?q?R=C3=B6ntgen?=",
        fields=["MIME-Version: 1.0", line],
    )


def _structure() -> bytes:
    """Write a message with a multipart inside a multipart, and a line that begins with From and one with a dot."""
    inner, body = multipart("alternative", part(f"{canary()}\n".encode(), "text/plain"), boundary="inner")
    lines = b"Content-Type: text/plain\r\n\r\nFrom here\r\n.\r\n..\r\nlast\r\n"
    line, body = multipart("mixed", inner.encode() + b"\r\n\r\n" + body, lines)
    return letter(body, subject="*secure*", fields=["MIME-Version: 1.0", line])


MESSAGES = {"text": _text, "attached": _attached, "structure": _structure}


@pytest.mark.parametrize(("way", "address"), [("openpgp", KIM), ("smime", SAM)])
@pytest.mark.parametrize("name", MESSAGES)
def test_what_a_reader_sees(readers: Readers, the_town: Town, way: str, address: str, name: str) -> None:
    """Mail that was encrypted here opens in a mail program, with its text, its structure and its subject."""
    assert the_town is readers.town
    seen = readers.sees(address, MESSAGES[name]())
    assert "CANARY" in seen
    file = GOLDEN / f"{way}-{name}.txt"
    if not file.exists():
        file.write_text(seen, encoding="utf-8")
        pytest.fail(f"{file} is new: look at it")
    assert seen == file.read_text(encoding="utf-8")
