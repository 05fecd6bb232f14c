"""
S/MIME through a real Postfix: what arrived is read with OpenSSL and the receivers' keys, and by nothing else.

A canary in each body shows who could read it.
"""

import os
from collections.abc import Iterator

import pytest
from lab.letter import canary, letter, multipart, part
from lab.place import short_folder
from lab.sink import Received
from lab.smime import READS_GCM, Smime
from lab.town import Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

DOMAIN = "smime.test"
SAM, EVA, OLD = f"sam@{DOMAIN}", f"eva@{DOMAIN}", f"old@{DOMAIN}"
PEOPLE = (SAM, EVA, OLD, DOMAIN)


@pytest.fixture(scope="module")
def smime(shared_town: Town) -> Iterator[Smime]:
    """Give correspondents whose certificates the site holds: three people, and the gateway of their domain."""
    with short_folder() as folder:
        outside = Smime(folder / "smime")
        files = [outside.certificate(SAM, "rsa"), outside.certificate(EVA, "p384", READS_GCM)]
        files.append(outside.certificate(OLD, "rsa", "keyUsage=digitalSignature"))
        shared_town.postfix.route(DOMAIN, shared_town.outside.port)
        shared_town.site.gatepost("key", "import", *files)
        shared_town.site.gatepost("key", "import", outside.certificate(DOMAIN), "--for", DOMAIN)
        yield outside
        for row in shared_town.site.json("key", "list")["keys"]:
            if row["kind"] == "smime":
                shared_town.site.gatepost("key", "remove", row["fingerprint"])


def _arrived(town: Town, *addresses: str) -> dict[str, Received]:
    """Wait for one message to each address and give them."""
    town.outside.wait_for_recipients(addresses)
    found = {address: message for message in town.outside.messages for address in message.addresses}
    assert sum(len(message.addresses) for message in town.outside.messages) == len(addresses)
    return {address: found[address] for address in addresses}


def test_a_tagged_message(the_town: Town, smime: Smime) -> None:
    """Who has a certificate gets S/MIME that OpenSSL opens to exactly what was written, under a marked subject."""
    word = canary()
    assert the_town.send("sue@hosp.test", SAM, message=letter(word, subject="*secure* results")).ok

    message = _arrived(the_town, SAM)[SAM]
    assert message.values("Subject") == ["[-Encrypted-] results"]
    assert message.values("Content-Type")[0].startswith("application/pkcs7-mime; smime-type=enveloped-data")
    assert word.encode() not in message.data
    assert word.encode() in smime.decrypt(message.data, SAM)
    assert smime.readers(message.data, PEOPLE) == [SAM]
    assert b"gatepost" not in message.header.lower().partition(b"received:")[0]


def test_each_by_what_they_have(the_town: Town, smime: Smime) -> None:
    """One message to certificates, a domain's certificate, an OpenPGP key and an insider: each can read it."""
    word = canary()
    everyone = (SAM, EVA, f"new@{DOMAIN}", "kim@plain.test", "doc@hosp.test")
    assert the_town.send("sue@hosp.test", *everyone, message=letter(word, subject="*secure* all")).ok

    got = _arrived(the_town, *everyone[:-1])
    assert not [one for one in got.values() if word.encode() in one.data]
    assert SAM in smime.readers(got[SAM].data, PEOPLE)
    assert EVA in smime.readers(got[EVA].data, PEOPLE)
    assert DOMAIN in smime.readers(got[f"new@{DOMAIN}"].data, PEOPLE)
    assert word.encode() in smime.decrypt(got[f"new@{DOMAIN}"].data, DOMAIN)
    assert word.encode() in the_town.gpg.decrypt(got["kim@plain.test"].data).data
    the_town.inside.wait_for_recipients(["doc@hosp.test"])
    assert word.encode() in the_town.inside.messages[0].body


def test_bcc_shares_no_recipient_list(the_town: Town, smime: Smime) -> None:
    """Who stands in neither To nor Cc gets a copy of their own: its recipient list names nobody else."""
    message = letter(canary(), subject="*secure* x", to=SAM)
    assert the_town.send("sue@hosp.test", SAM, EVA, message=message).ok

    got = _arrived(the_town, SAM, EVA)
    assert smime.readers(got[SAM].data, PEOPLE) == [SAM]
    assert smime.readers(got[EVA].data, PEOPLE) == [EVA]
    assert "authEnveloped-data" in got[EVA].values("Content-Type")[0]


def test_structure_and_size(the_town: Town, smime: Smime) -> None:
    """HTML with an image and five megabytes of attachment open to the very octets that were sent."""
    html = part(b"<img src='cid:a'>", "text/html")
    entity = multipart(
        "mixed", html, part(os.urandom(5 << 20), "application/pdf", "Content-Disposition: attachment")
    )
    line, body = entity
    message = letter(body, subject="*secure* scan", fields=(line, "MIME-Version: 1.0"))
    assert the_town.send("sue@hosp.test", SAM, message=message).ok

    opened = smime.decrypt(_arrived(the_town, SAM)[SAM].data, SAM)
    assert opened == line.encode() + b"\r\n\r\n" + body


def test_a_certificate_that_is_not_for_encryption(the_town: Town, smime: Smime) -> None:
    """A certificate for signatures alone is passed over with its reason; the domain's is used."""
    plan = the_town.site.json("explain", "--from", "sue@hosp.test", "--to", OLD, "--subject", "*secure* x")
    (recipient,) = plan["recipients"]
    assert recipient["treatment"] == "smime"
    assert f"of {DOMAIN}" in " ".join(recipient["reasons"])

    the_town.site.gatepost("key", "remove", _fingerprint(the_town, DOMAIN))
    try:
        plan = the_town.site.json("explain", "--from", "sue@hosp.test", "--to", OLD, "--subject", "*secure* x")
        assert plan["recipients"][0]["treatment"] == "quarantine"
        assert "key usage" in " ".join(plan["recipients"][0]["reasons"])
    finally:
        the_town.site.gatepost("key", "import", smime.folder / f"{DOMAIN}.pem", "--for", DOMAIN)


def test_only_whom_a_certificate_names(the_town: Town, smime: Smime) -> None:
    """A certificate is kept for an address only if it names that address, and comes out as PEM."""
    file = smime.folder / f"{SAM}.pem"
    refused = the_town.site.gatepost("key", "import", file, "--for", f"else@{DOMAIN}", check=False)
    assert refused.returncode == 1
    assert SAM in refused.stderr
    assert "Traceback" not in refused.stderr
    exported = the_town.site.gatepost("key", "export", _fingerprint(the_town, SAM)).stdout
    assert exported.strip() == file.read_text().strip()


def _fingerprint(town: Town, owner: str) -> str:
    return str(next(row["fingerprint"] for row in town.site.json("key", "list")["keys"] if row["owner"] == owner))
