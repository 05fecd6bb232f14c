"""
An insider forwards what arrived encrypted to the service address, through Postfix, and gets it back opened.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.letter import canary, letter, multipart, part, pgp_mime
from lab.place import short_folder
from lab.sink import Received
from lab.town import OWN, Town, town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

KIM, EVE, DOC, SUE, SERVICE = "kim@plain.test", "eve@pgp.test", f"doc@{OWN}", f"sue@{OWN}", f"decrypt@{OWN}"


def encrypted(town: Town, word: str, *, key: str, sender: str = KIM, to: str = DOC) -> bytes:
    """Write a message with a word in it, encrypted to a key."""
    cipher = town.gpg.encrypt(f"Content-Type: text/plain\r\n\r\n{word}\r\n".encode(), [key], signer=KIM)
    line, body = pgp_mime(cipher)
    return letter(body, sender=sender, to=to, fields=["MIME-Version: 1.0", line])


def forwarded(*messages: bytes, sender: str = DOC) -> bytes:
    """Write a request with these messages attached: the first as it is, the others as files."""
    first, *others = messages
    attached = [b"Content-Type: message/rfc822\r\n\r\n" + first]
    attached += [part(one, "application/octet-stream; name=mail.eml") for one in others]
    line, body = multipart("mixed", b"Content-Type: text/plain\r\n\r\nplease\r\n", *attached, boundary="request")
    return letter(body, sender=sender, to=SERVICE, fields=["MIME-Version: 1.0", line])


@pytest.fixture
def late_key(the_town: Town) -> Iterator[tuple[str, Path]]:
    """Give doc's key that the site does not hold yet, and a file with its private half."""
    gpg = the_town.gpg
    fingerprint = gpg.key(DOC)
    file = the_town.folder / "doc.key"
    file.write_bytes(gpg.run("--armor", "--export-secret-keys", fingerprint).stdout)
    yield fingerprint, file
    the_town.site.gatepost("key", "remove", fingerprint)


def answers(town: Town, message: bytes, count: int, *, sender: str = DOC) -> list[Received]:
    """Have a request sent; give what comes back."""
    before = len(town.inside.messages)
    assert town.send(sender, SERVICE, message=message).ok
    return town.inside.wait_for(before + count)[before:]


def test_opened_later(the_town: Town, late_key: tuple[str, Path]) -> None:
    """What could not be opened when it came is opened once the key is there, for its addressee, in confidence."""
    fingerprint, file = late_key
    word = canary()
    message = encrypted(the_town, word, key=fingerprint)
    assert the_town.send_from_outside(KIM, DOC, message=message).ok
    arrived = the_town.inside.wait_for(1)[0]
    assert word.encode() not in arrived.data
    the_town.site.gatepost("key", "import", "--private", file)

    (got,) = answers(the_town, forwarded(arrived.data), 1)
    assert got.addresses == (DOC,)
    assert got.sender == ""
    assert word.encode() in got.body
    assert got.values("Message-ID") == arrived.values("Message-ID")
    (result,) = got.values("Gatepost-Result")
    assert "decrypted=openpgp; signed=pass" in result

    fields = [f"In-Reply-To: {got.values('Message-ID')[0]}"]
    answer = canary()
    assert the_town.send(DOC, KIM, message=letter(answer, sender=DOC, to=KIM, fields=fields)).ok
    reply = the_town.outside.wait_for(1)[0]
    assert answer.encode() not in reply.data
    assert answer.encode() in the_town.gpg.decrypt(reply.data).data

    def told() -> str:
        return the_town.site.gatepost("why", arrived.values("Message-ID")[0], check=False).stdout

    until(lambda: f"forwarded to {SERVICE}" in told(), 10, told)


def test_several_and_one_that_does_not_open(the_town: Town) -> None:
    """Two that came for doc come back, one to another's key does not; a notice tells of it in the same words."""
    own = the_town.gpg.fingerprint(OWN)
    words = [canary() for _ in range(3)]
    keys = (own, the_town.gpg.fingerprint(EVE), own)
    messages = [encrypted(the_town, word, key=key) for word, key in zip(words, keys, strict=True)]
    got = answers(the_town, forwarded(*messages), 3)

    bodies = b"".join(one.body for one in got)
    assert [word.encode() in bodies for word in words] == [True, False, True]
    assert b"Of 3 messages" in bodies
    assert {address for one in got for address in one.addresses} == {DOC}
    assert the_town.outside.messages == []


def test_not_for_others(the_town: Town) -> None:
    """Who got hold of a colleague's mail, or captured it, does not get it opened with the domain's key."""
    word = canary()
    message = encrypted(the_town, word, key=the_town.gpg.fingerprint(OWN))
    assert the_town.send_from_outside(KIM, DOC, message=message).ok
    the_town.inside.wait_for(1)
    body = message.partition(b"\r\n\r\n")[2]
    line = next(one for one in message.split(b"\r\n") if one.startswith(b"Content-Type"))
    for sender in (KIM, EVE):
        captured = letter(body, sender=sender, to=SUE, fields=["MIME-Version: 1.0", line])
        (got,) = answers(the_town, forwarded(captured, sender=SUE), 1, sender=SUE)
        assert word.encode() not in got.data
        assert b"could not be opened" in got.body


def test_refused(the_town: Town) -> None:
    """From outside, and to others beside, it is refused; nothing goes on."""
    message = forwarded(encrypted(the_town, canary(), key=the_town.gpg.fingerprint(OWN)))
    for outcome, code in (
        (the_town.send_from_outside(KIM, SERVICE, message=message), 553),
        (the_town.send_from_outside(DOC, SERVICE, message=message), 553),
        (the_town.send(DOC, SERVICE, KIM, message=message), 550),
        (the_town.send(KIM, SERVICE, message=message), 550),
    ):
        assert outcome.reply.code == code, outcome.reply
    assert the_town.inside.messages == []
    assert the_town.outside.messages == []


def test_the_milter_is_killed(the_town: Town) -> None:
    """A request that was put off because the key worker was away is answered once, by the next try."""
    word = canary()
    message = forwarded(encrypted(the_town, word, key=the_town.gpg.fingerprint(OWN)))
    the_town.site.kill_service("keys")
    outcome = the_town.send(DOC, SERVICE, message=message)
    assert outcome.reply.temporary
    until(lambda: the_town.send(DOC, SERVICE, message=message).ok, 30, "it is taken later")
    assert the_town.send(DOC, SERVICE, message=message).ok

    assert word.encode() in the_town.inside.wait_for(1)[0].body
    assert the_town.send(DOC, SUE, message=letter("last", to=SUE)).ok
    until(lambda: any(b"last" in one.body for one in the_town.inside.messages), 20, "the last one arrives")
    assert sum(word.encode() in one.data for one in the_town.inside.messages) == 1


def test_postfix_must_know_the_address() -> None:
    """Where Postfix knows its recipients, an alias makes it take mail for the address; the doctor says so."""
    known = {"relay_recipient_maps": f"inline:{{{DOC}=x}}"}
    with short_folder() as folder, town(folder, postfix_settings=known) as the_town:
        word = canary()
        message = forwarded(encrypted(the_town, word, key=the_town.gpg.fingerprint(OWN)))
        assert the_town.send(DOC, SERVICE, message=message).reply.code == 550
        assert "virtual_alias_maps" in _remedy(the_town)

        the_town.postfix.set(virtual_alias_maps=f"inline:{{{SERVICE}={DOC}}}")
        the_town.postfix.reload()
        assert _remedy(the_town) == ""
        assert the_town.send_from_outside(KIM, SERVICE, message=message).reply.code == 553
        (got,) = answers(the_town, message, 1)
        assert word.encode() in got.body
        assert got.addresses == (DOC,)


def _remedy(the_town: Town) -> str:
    """Give what the doctor says is to be done about the service address."""
    printed = the_town.site.gatepost("--json", "doctor", check=False).stdout
    (found,) = [one for one in json.loads(printed)["checks"] if f"mail for {SERVICE}" in one["what"]]
    return str(found["remedy"])
