"""What a whole site says of the mail that goes through it: a line for each, events that are proven, no content."""

import re
from base64 import b64encode

import pytest
from lab.letter import canary, letter, multipart, part, pgp_mime
from lab.town import OWN, Town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_KIM = "kim@plain.test"


def _lines(town: Town, queue_id: str) -> list[str]:
    """Give the lines about a message."""
    return [line for line in town.site.log().splitlines() if re.search(rf"\bqueue_id={queue_id}\b", line)]


def _secrets(town: Town) -> list[str]:
    """Give the site's secrets as somebody might have written them."""
    found = []
    for name in ("keys", "vault"):
        octets = (town.site.folder / "secrets" / name).read_bytes()
        found += [octets.hex(), b64encode(octets).decode().rstrip("="), repr(octets)[2:-1]]
    return found


def _samples(town: Town, word: str) -> list[str]:
    """Send mail of every kind, with a canary wherever content may be; gives the queue IDs that were told."""
    line, body = multipart(
        "mixed", part(word.encode(), "text/plain", f'Content-Disposition: attachment; filename="{word}"')
    )
    attached = letter(body, subject=f"*secure* {word}", fields=[line, f"X-Note: {word}"])
    from_inside = (
        ("doc@hosp.test",),
        ("ann@pgp.test", "doc@hosp.test"),
        ("carol@tls.test",),
        ("held@plain.test",),
        ("doc@hosp.test", "eve@pgp.test", "carl@pin.test", "held@plain.test"),
    )
    outcomes = [town.send("sue@hosp.test", *recipients, message=attached) for recipients in from_inside]
    entity = f"Content-Type: text/plain\r\n\r\n{word}\r\n".encode()
    for owner in (OWN, "eve@pgp.test"):
        kind, encrypted = pgp_mime(town.gpg.encrypt(entity, [town.gpg.fingerprint(owner)], signer=_KIM))
        message = letter(
            encrypted, sender=_KIM, to="doc@hosp.test", subject=word, fields=["MIME-Version: 1.0", kind]
        )
        outcomes.append(town.send_from_outside(_KIM, "doc@hosp.test", message=message))
    broken = letter(f"-----BEGIN PGP MESSAGE-----\r\n{word}\r\n", sender=_KIM, fields=[f"Content-Type: {word}"])
    outcomes.append(town.send_from_outside(_KIM, "doc@hosp.test", message=broken))
    assert all(outcome.ok and outcome.queue_id for outcome in outcomes)
    return [outcome.queue_id for outcome in outcomes]


def test_one_line_a_message_and_no_content(the_town: Town) -> None:
    """
    Each message has one line, by the queue ID that Postfix told; the record holds it, stamped and proven.

    Neither log nor record holds anything of a message's subject, fields, body or attachments, nor a secret.
    """
    word = canary()
    queue_ids = _samples(the_town, word)
    until(lambda: all(_lines(the_town, one) for one in queue_ids), 60, the_town.site.log)

    for queue_id in queue_ids:
        (line,) = [line for line in _lines(the_town, queue_id) if " a notice was not sent " not in line]
        assert re.search(r"info message queue_id=\S+ answer=(accept|discard) sender=\S+ recipients=\[", line), line
    refused = the_town.send("sue@hosp.test", "@route.test:bob@plain.test", message=letter(word))
    assert refused.recipients[0].code == 553
    assert "a recipient was refused" in the_town.site.log()

    events = the_town.site.gatepost("audit", "list", "--json", "--limit", "100000").stdout
    assert all(f'"queue_id": "{one}"' in events for one in queue_ids)
    said = the_town.site.log()
    for text in (said, events):
        assert "CANARY-" not in text
        assert "BEGIN PGP" not in text
        assert not [secret for secret in _secrets(the_town) if secret in text]
    assert "Traceback" not in said
    until(lambda: _verified(the_town), 60, lambda: the_town.site.gatepost("audit", "verify", check=False).stdout)


def _verified(town: Town) -> bool:
    found = town.site.json("audit", "verify")
    return bool(found["ok"]) and all(chain["stamps"] and not chain["unstamped"] for chain in found["chains"])
