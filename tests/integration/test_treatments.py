"""
Every treatment and every mix, through a real Postfix; what arrived is judged by its bytes alone.

Nothing of Gatepost's own records is believed here: the gpg command line decrypts, the receivers say what
came inside TLS, and a canary in each body shows who could read it.
"""

import hashlib
import os
from collections.abc import Sequence

import pytest
from lab.client import Client, Envelope, send
from lab.letter import canary, letter, multipart, part
from lab.sink import Received, Sink
from lab.town import KEY_HOLDERS, Town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def _message_to(sink: Sink, address: str) -> Received:
    """Wait for the message to an address and give it."""
    sink.wait_for_recipients([address])
    return next(message for message in sink.messages if address in message.addresses)


def _plain(town: Town, message: Received) -> bytes:
    """Give what the gpg command line makes of a message."""
    assert "multipart/encrypted" in message.values("Content-Type")[0]
    return town.gpg.decrypt(message.data).data


class TestOneTreatment:
    def test_internal_passes(self, the_town: Town) -> None:
        """Internal mail passes as it is, tag or no tag."""
        word = canary()
        assert the_town.send("sue@hosp.test", "doc@hosp.test", message=letter(word, subject="*secure* hi")).ok

        message = _message_to(the_town.inside, "doc@hosp.test")
        assert word.encode() in message.body
        assert message.values("Subject") == ["*secure* hi"]

    def test_openpgp(self, the_town: Town) -> None:
        """A partner with a key gets PGP/MIME that gpg reads, and nothing in clear."""
        word = canary()
        assert the_town.send("sue@hosp.test", "ann@pgp.test", message=letter(word)).ok

        message = _message_to(the_town.outside, "ann@pgp.test")
        assert word.encode() not in message.data
        assert word.encode() in _plain(the_town, message)
        assert not [
            line
            for line in message.header.lower().split(b"\r\n")
            if line.startswith((b"gatepost-", b"x-gatepost-"))
        ]

    @pytest.mark.parametrize(("address", "name"), [("carol@tls.test", "tls"), ("carl@pin.test", "pin")])
    def test_verified_tls(self, the_town: Town, address: str, name: str) -> None:
        """A TLS partner gets the message inside TLS, by the certificate that its row names."""
        word = canary()
        sink = the_town.tls if name == "tls" else the_town.pin
        assert the_town.send("sue@hosp.test", address, message=letter(word)).ok

        message = _message_to(sink, address)
        assert message.tls is not None
        assert word.encode() in message.body
        assert b"gatepost-" not in message.header.lower()

    def test_wrong_certificate_defers(self, the_town: Town) -> None:
        """Mail to a TLS partner whose server shows the wrong certificate stays in the queue."""
        outcome = the_town.send("sue@hosp.test", "walt@wrong.test", message=letter(canary()))

        until(lambda: _deferred(the_town, "walt@wrong.test"), 15, "the message is deferred")
        assert outcome.ok
        assert the_town.wrong.messages == []
        _delete(the_town, "walt@wrong.test")

    def test_tls_that_is_not_offered_defers(self, the_town: Town) -> None:
        """Where the server no longer offers TLS, mail waits; it never goes in clear."""
        context, the_town.tls.context = the_town.tls.context, None
        try:
            assert the_town.send("sue@hosp.test", "nell@tls.test", message=letter(canary())).ok
            until(lambda: _deferred(the_town, "nell@tls.test"), 15, "the message is deferred")
            assert the_town.tls.messages == []
        finally:
            the_town.tls.context = context
        the_town.postfix.flush()
        assert _message_to(the_town.tls, "nell@tls.test").tls is not None

    def test_tag_without_a_way_is_held(self, the_town: Town) -> None:
        """A tagged message to someone without a key is held, the sender told, and stays held when released."""
        word = canary()
        assert the_town.send("sue@hosp.test", "nobody@plain.test", message=letter(word, subject="*secure* x")).ok

        notice = _message_to(the_town.inside, "sue@hosp.test")
        assert notice.sender == ""
        assert word.encode() not in notice.data
        assert the_town.outside.messages == []
        held = [
            held
            for held in the_town.site.json("quarantine", "list")["held"]
            if "nobody@plain.test" in held["recipients"]
        ]
        assert len(held) == 1
        assert the_town.site.gatepost("quarantine", "release", held[0]["id"], check=False).returncode == 1

    def test_reject(self, the_town: Town) -> None:
        """A rule that rejects refuses the whole message with 550 5.7.1, and nobody gets anything."""
        rules = the_town.site.folder / "rules" / "90-reject.toml"
        rules.write_text(
            '[[rule]]\nname = "no plans"\nwhen = { direction = "out", subject = "plan" }\ndemand = "reject"\n'
        )
        the_town.site.restart()
        try:
            message = letter(canary(), subject="the plan")
            outcome = the_town.send("sue@hosp.test", "bob@plain.test", "ann@pgp.test", message=message)
        finally:
            rules.unlink()
            the_town.site.restart()

        assert outcome.reply.code == 550
        assert "5.7.1" in outcome.reply.text
        assert the_town.outside.messages == []


class TestMixes:
    def test_all_kinds_in_one_message(self, the_town: Town) -> None:
        """Internal, OpenPGP, TLS and held recipients of one message each get theirs, and only that."""
        word = canary()
        recipients = (
            "doc@hosp.test",
            "ann@pgp.test",
            "bob@pgp.test",
            "carol@tls.test",
            "carl@pin.test",
            "none@plain.test",
        )
        assert the_town.send("sue@hosp.test", *recipients, message=letter(word, subject="*secure* all")).ok

        encrypted = [_message_to(the_town.outside, "ann@pgp.test"), _message_to(the_town.outside, "bob@pgp.test")]
        inside = _message_to(the_town.inside, "doc@hosp.test")
        notice = _message_to(the_town.inside, "sue@hosp.test")
        assert word.encode() in inside.body
        assert inside.values("Subject") == ["*secure* all"]
        for message in encrypted:
            assert word.encode() not in message.data
            assert word.encode() in _plain(the_town, message)
            assert message.values("Subject") == ["[-Encrypted-] all"]
        assert b"none@plain.test" in notice.data
        the_town.postfix.wait_queue_empty()
        in_clear = [
            m.addresses
            for sink in the_town.sinks
            for m in sink.messages
            if word.encode() in m.data and m.tls is None
        ]
        assert in_clear == [("doc@hosp.test",)]

    def test_pass_beside_openpgp_and_tls(self, the_town: Town) -> None:
        """Without a tag, only the partners' copies are protected."""
        word = canary()
        recipients = ("bob@plain.test", "ann@pgp.test", "carol@tls.test", "doc@hosp.test")
        assert the_town.send("sue@hosp.test", *recipients, message=letter(word)).ok

        assert word.encode() in _message_to(the_town.outside, "bob@plain.test").body
        assert word.encode() in _message_to(the_town.inside, "doc@hosp.test").body
        assert word.encode() in _plain(the_town, _message_to(the_town.outside, "ann@pgp.test"))
        assert _message_to(the_town.tls, "carol@tls.test").tls is not None

    def test_bcc_stays_secret(self, the_town: Town) -> None:
        """Recipients who do not see each other share no OpenPGP recipient list."""
        message = letter(canary(), to="ann@pgp.test")
        assert the_town.send("sue@hosp.test", "ann@pgp.test", "eve@pgp.test", message=message).ok

        for address in ("ann@pgp.test", "eve@pgp.test"):
            received = _message_to(the_town.outside, address)
            assert received.addresses == (address,)
            assert the_town.gpg.recipients(received.data) == 1

    def test_esmtp_parameters_travel(self, the_town: Town) -> None:
        """NOTIFY, ORCPT, RET and ENVID reach every copy's receiver."""
        with Client(the_town.postfix.inside_port) as client:
            envelope = Envelope.of(
                "sue@hosp.test RET=HDRS ENVID=env-1",
                "doc@hosp.test NOTIFY=FAILURE ORCPT=rfc822;d@hosp.test",
                "ann@pgp.test NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@pgp.test",
            )
            assert client.send(envelope, letter(canary())).ok

        for sink, address, notify in (
            (the_town.inside, "doc@hosp.test", "FAILURE"),
            (the_town.outside, "ann@pgp.test", "SUCCESS,FAILURE"),
        ):
            message = _message_to(sink, address)
            recipient = next(each for each in message.recipients if each.address == address)
            assert f"NOTIFY={notify}" in recipient.parameters
            assert f"ORCPT=rfc822;{address[0]}@{address.partition('@')[2]}" in recipient.parameters
            assert {"RET=HDRS", "ENVID=env-1"} <= set(message.parameters)

    def test_two_hundred_recipients(self, the_town: Town) -> None:
        """Two hundred recipients of three kinds each get the message exactly once."""
        word = canary()
        inside = [f"i{number}@hosp.test" for number in range(100)]
        passing = [f"p{number}@plain.test" for number in range(60)]
        tls = [f"t{number}@tls.test" for number in range(37)]
        encrypted = [address for address in KEY_HOLDERS if address.endswith("@pgp.test")]
        everyone = [*inside, *passing, *tls, *encrypted]
        assert the_town.send("sue@hosp.test", *everyone, message=letter(word)).ok

        the_town.postfix.wait_queue_empty(60)
        got = [address for sink in the_town.sinks for message in sink.messages for address in message.addresses]
        assert sorted(got) == sorted(everyone)
        for message in the_town.outside.messages:
            if set(message.addresses) & set(encrypted):
                assert word.encode() not in message.data


class TestContent:
    def _round_trip(self, town: Town, fields: Sequence[str | bytes], body: bytes) -> None:
        """Send to a passing and to an OpenPGP recipient; both must have the body byte for byte."""
        message = letter(body, fields=fields)
        assert send(
            town.postfix.inside_port,
            Envelope.of("sue@hosp.test", "bob@plain.test", "ann@pgp.test"),
            message,
            timeout=200,
        ).ok

        town.outside.wait_for_recipients(["bob@plain.test", "ann@pgp.test"], 120)
        assert _message_to(town.outside, "bob@plain.test").body == body
        plain = _plain(town, _message_to(town.outside, "ann@pgp.test"))
        assert plain.partition(b"\r\n\r\n")[2] == body
        for line in fields:
            assert (line if isinstance(line, bytes) else line.encode()) in plain

    def test_html_with_inline_images(self, the_town: Town) -> None:
        """HTML with inline images arrives whole, in clear and encrypted."""
        image = os.urandom(30_000)
        related = multipart(
            "related",
            b'Content-Type: text/html\r\n\r\n<p>See <img src="cid:one@lab"> and <img src="cid:two@lab"></p>\r\n',
            part(image, "image/png", "Content-ID: <one@lab>", "Content-Disposition: inline"),
            part(image[::-1], "image/png", "Content-ID: <two@lab>", "Content-Disposition: inline"),
        )
        self._round_trip(the_town, [related[0]], related[1])

    def test_attachment_of_25_mb(self, the_town: Town) -> None:
        """An attachment of 25 MB goes out, in clear and encrypted, byte for byte."""
        line, body = multipart("mixed", part(os.urandom(25_000_000), "application/octet-stream"))

        self._round_trip(the_town, [line], body)

    def test_8_bit(self, the_town: Town) -> None:
        """8-bit text in UTF-8 and in Latin-1 arrives unchanged."""
        fields = ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]

        self._round_trip(the_town, fields, "Grüße, 日本語, 🦔\r\n".encode() + "Grüße\r\n".encode("latin-1"))

    def test_8_bit_header_fields(self, the_town: Town) -> None:
        """A raw Latin-1 subject neither stops a message nor leaks: the marked subject is ASCII."""
        word = canary()
        message = letter(word, subject=b"*secure* Gr\xfc\xdfe")
        assert the_town.send("sue@hosp.test", "ann@pgp.test", message=message).ok

        received = _message_to(the_town.outside, "ann@pgp.test")
        assert word.encode() not in received.data
        assert received.header.isascii()

    def test_smtputf8(self, the_town: Town) -> None:
        """Internationalised addresses keep their bytes, and every copy asks for SMTPUTF8."""
        with Client(the_town.postfix.inside_port) as client:
            envelope = Envelope.of(
                "süe@hosp.test SMTPUTF8", "jürgen@hosp.test", "ännchen@plain.test", "caröl@tls.test"
            )
            assert client.send(envelope, letter("Grüße\r\n", sender="süe@hosp.test", subject="Grüße")).ok

        for sink, address in (
            (the_town.inside, "jürgen@hosp.test"),
            (the_town.outside, "ännchen@plain.test"),
            (the_town.tls, "caröl@tls.test"),
        ):
            message = _message_to(sink, address)
            assert message.sender == "süe@hosp.test"
            assert "SMTPUTF8" in message.parameters
            assert message.values("Subject") == ["Grüße"]

    def test_just_under_the_size_limit(self, the_town: Town) -> None:
        """A message just under Postfix's limit goes out encrypted although it grew."""
        limit = int(the_town.postfix.get("message_size_limit"))
        line, body = multipart(
            "mixed", part(os.urandom(int((limit - 20_000) / 1.3701)), "application/octet-stream")
        )
        message = letter(body, fields=[line])
        assert limit - 100_000 < len(message) < limit
        assert send(
            the_town.postfix.inside_port, Envelope.of("sue@hosp.test", "ann@pgp.test"), message, timeout=200
        ).ok

        the_town.outside.wait_for_recipients(["ann@pgp.test"], 120)
        plain = _plain(the_town, _message_to(the_town.outside, "ann@pgp.test"))
        assert hashlib.sha256(plain.partition(b"\r\n\r\n")[2]).digest() == hashlib.sha256(body).digest()


class TestConnections:
    def test_three_messages_with_rset_between(self, the_town: Town) -> None:
        """Three messages over one connection, each begun anew after a RSET, do not touch one another."""
        words = [canary() for _ in range(3)]
        with Client(the_town.postfix.inside_port) as client:
            for number, (word, recipient) in enumerate(
                zip(words, ("ann@pgp.test", "bob@plain.test", "bob@pgp.test"), strict=True)
            ):
                client.mail("eve@hosp.test")
                client.rcpt(f"dropped{number}@plain.test")
                assert client.rset().ok
                assert client.send(Envelope.of("sue@hosp.test", recipient), letter(word)).ok

        the_town.outside.wait_for_recipients(["ann@pgp.test", "bob@plain.test", "bob@pgp.test"])
        by_address = {message.addresses[0]: message for message in the_town.outside.messages}
        assert set(by_address) == {"ann@pgp.test", "bob@plain.test", "bob@pgp.test"}
        assert words[0].encode() in _plain(the_town, by_address["ann@pgp.test"])
        assert words[1].encode() in by_address["bob@plain.test"].body
        assert words[2].encode() in _plain(the_town, by_address["bob@pgp.test"])

    def test_daemon_down_is_a_tempfail(self, the_town: Town) -> None:
        """While Gatepost is down, mail is refused for now and nothing leaves."""
        the_town.site.stop()
        try:
            outcome = the_town.send("sue@hosp.test", "ann@pgp.test", message=letter(canary()))
        finally:
            the_town.site.start()

        assert outcome.reply.temporary
        assert the_town.outside.messages == []


def _deferred(town: Town, address: str) -> bool:
    queued = town.postfix.queue()
    return any(
        recipient["address"] == address and "delay_reason" in recipient
        for message in queued
        for recipient in message["recipients"]
    )


def _delete(town: Town, address: str) -> None:
    """Take a message that waits for good out of the queue."""
    for message in town.postfix.queue():
        if any(recipient["address"] == address for recipient in message["recipients"]):
            town.postfix.delete(message["queue_id"])
