"""
What a message says about itself outside its content: addresses byte for byte, ESMTP parameters, sizes.

The recipients of each message are of several kinds, so that it is split: a recipient that was not taken off the
original would show up twice, or in clear.
"""

import os
import re

import pytest
from lab.client import Client, Envelope, send
from lab.letter import canary, letter, multipart, part
from lab.sink import Received, Sink
from lab.town import OWN, Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SUE, DOC, ANN, BOB, EVE = f"sue@{OWN}", f"doc@{OWN}", "ann@pgp.test", "bob@pgp.test", "eve@pgp.test"
PLAIN, CAROL = "bob@plain.test", "carol@tls.test"


def _to(sink: Sink, address: str) -> Received:
    """Wait for what an address received, which must be one message."""
    sink.wait_for_recipients([address])
    found = [message for message in sink.messages if address in message.addresses]
    assert len(found) == 1
    return found[0]


def _key_ids(town: Town, message: Received) -> set[bytes]:
    listing = town.gpg.run("--list-packets", "--list-only", data=message.data, check=False)
    return set(re.findall(rb"pubkey enc packet:.* keyid ([0-9A-F]{16})", listing.stdout + listing.stderr))


def _encryption_key_id(town: Town, address: str) -> bytes:
    listing = town.gpg.run("--with-colons", "--list-keys", address).stdout.decode().splitlines()
    fields = (line.split(":") for line in listing)
    return next(each[4] for each in fields if each[0] == "sub" and "e" in each[11]).encode()


class TestAddresses:
    @pytest.mark.parametrize(
        "protected",
        ["ANN@PGP.Test", "Ann+Tag@pgp.test", '"ann"@pgp.test', '"aNN"@pgp.test', '"a\\nn"@pgp.test'],
    )
    def test_exact_bytes_of_openpgp_recipients(self, the_town: Town, protected: str) -> None:
        """However an address is spelled, its recipient gets the encrypted copy or none, never the clear one."""
        word = canary()
        outcome = the_town.send(SUE, DOC, protected, PLAIN, message=letter(word))

        the_town.postfix.wait_queue_empty()
        clear = [one for one in the_town.outside.messages if word.encode() in one.data]
        assert [one.addresses for one in clear] == [(PLAIN,)] * outcome.ok
        sealed = [one for one in the_town.outside.messages if one not in clear]
        refused = not outcome.recipients[1].ok
        assert len(sealed) == (0 if refused else 1)
        assert outcome.ok
        assert all(word.encode() in the_town.gpg.decrypt(one.data).data for one in sealed)
        if not refused and '"' not in protected:
            assert sealed[0].addresses == (protected,)

    @pytest.mark.parametrize(
        "local", ["Carol", "carol+x", '"ca rol"', '"ca\\"rol"', "c=a!r#o", "o'neil", "ca%rol"]
    )
    def test_exact_bytes_of_tls_recipients(self, the_town: Town, local: str) -> None:
        """Odd but valid local parts reach the TLS partner once, over the TLS route alone."""
        address = f"{local}@tls.test"
        outcome = the_town.send(SUE, DOC, address, PLAIN, message=letter(canary()))
        the_town.postfix.wait_queue_empty()

        got = [one for one in the_town.tls.messages for _ in one.addresses]
        assert outcome.ok
        assert len(got) == outcome.recipients[1].ok
        assert all(one.tls is not None for one in got)
        assert [one.addresses for one in the_town.outside.messages] == [(PLAIN,)]
        assert [one.addresses for one in the_town.inside.messages] == [(DOC,)]

    def test_same_mailbox_twice(self, the_town: Town) -> None:
        """Two spellings of one mailbox are taken off the clear original, both; Postfix itself may join them."""
        word = canary()
        assert the_town.send(SUE, PLAIN, "ann@pgp.test", "Ann@pgp.test", message=letter(word)).ok
        the_town.postfix.wait_queue_empty()

        clear = [one.addresses for one in the_town.outside.messages if word.encode() in one.data]
        sealed = {each for one in the_town.outside.messages for each in one.addresses} - {PLAIN}
        assert clear == [(PLAIN,)]
        assert {address.lower() for address in sealed} == {ANN}

    def test_null_sender(self, the_town: Town) -> None:
        """The null sender stays null on every copy, protected or not."""
        word = canary()
        assert the_town.send("", DOC, ANN, PLAIN, CAROL, message=letter(word)).ok

        places = {DOC: the_town.inside, ANN: the_town.outside, PLAIN: the_town.outside, CAROL: the_town.tls}
        copies = {address: _to(sink, address) for address, sink in places.items()}
        assert {one.sender for one in copies.values()} == {""}
        assert word.encode() not in copies[ANN].data
        assert copies[CAROL].tls is not None


class TestParameters:
    def test_on_every_copy(self, the_town: Town) -> None:
        """BODY, RET, ENVID, NOTIFY and ORCPT are on every copy, in place and re-injected."""
        everyone = {
            DOC: (the_town.inside, "NEVER"),
            ANN: (the_town.outside, "SUCCESS,FAILURE"),
            PLAIN: (the_town.outside, "DELAY"),
            CAROL: (the_town.tls, "FAILURE,DELAY"),
        }
        recipients = [f"{each} NOTIFY={notify} ORCPT=rfc822;was-{each}" for each, (_, notify) in everyone.items()]
        envelope = Envelope.of(f"{SUE} BODY=8BITMIME RET=FULL ENVID=QQ314159", *recipients)
        assert send(the_town.postfix.inside_port, envelope, letter("Grüße\r\n")).ok

        for address, (sink, notify) in everyone.items():
            received = _to(sink, address)
            parameters = next(one.parameters for one in received.recipients if one.address == address)
            assert set(parameters) == {f"NOTIFY={notify}", f"ORCPT=rfc822;was-{address}"}
            assert {"RET=FULL", "ENVID=QQ314159", "BODY=8BITMIME"} <= set(received.parameters)

    def test_hidden_recipients_share_no_key_list(self, the_town: Town) -> None:
        """A copy is encrypted to those who see each other in the header; nobody's key gives a hidden one away."""
        message = letter(canary(), to=f"{ANN}, {BOB}")
        assert the_town.send(SUE, ANN, BOB, EVE, PLAIN, message=message).ok

        keys = {address: _encryption_key_id(the_town, address) for address in (ANN, BOB, EVE)}
        for address in (ANN, BOB, EVE):
            received = _to(the_town.outside, address)
            assert keys[address] in _key_ids(the_town, received)
            assert _key_ids(the_town, received) == {keys[each] for each in received.addresses}
        assert _to(the_town.outside, EVE).addresses == (EVE,)


class TestSizes:
    def test_above_the_limit_is_refused(self, the_town: Town) -> None:
        """A message above Postfix's limit is refused, announced or not; nothing leaves."""
        limit = int(the_town.postfix.get("message_size_limit"))
        with Client(the_town.postfix.inside_port) as client:
            assert client.mail(f"{SUE} SIZE={limit + 1}").code == 552
        body = (b"z" * 998 + b"\r\n") * (limit // 1000 + 1)
        outcome = the_town.send(SUE, ANN, PLAIN, DOC, message=letter(body))

        assert outcome.reply.code == 552
        the_town.postfix.wait_queue_empty()
        assert [one for sink in the_town.sinks for one in sink.messages] == []

    def test_just_under_the_limit_beside_others(self, the_town: Town) -> None:
        """A copy that grew beyond the limit by encryption is taken by the re-injection listener as well."""
        limit = int(the_town.postfix.get("message_size_limit"))
        line, body = multipart("mixed", part(os.urandom(int(limit / 1.38)), "application/octet-stream"))
        assert 0.95 * limit < len(body) < limit
        outcome = send(
            the_town.postfix.inside_port, Envelope.of(SUE, ANN, PLAIN), letter(body, fields=[line]), timeout=200
        )
        assert outcome.ok

        the_town.outside.wait_for_recipients([ANN, PLAIN], 120)
        assert _to(the_town.outside, PLAIN).body == body
        sealed = _to(the_town.outside, ANN)
        assert len(sealed.data) > limit
        assert the_town.gpg.decrypt(sealed.data).data.partition(b"\r\n\r\n")[2] == body
