"""
A DKIM signer after Gatepost signs what leaves, in whatever form; the receiver finds every signature valid.

OpenDKIM stands where an admin put it before `setup postfix`: in `smtpd_milters`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.dkim import Signer
from lab.letter import canary, letter, multipart, part
from lab.place import short_folder
from lab.sink import Received, Sink
from lab.town import OWN, Town, town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SUE, ANN, BOB = f"sue@{OWN}", "ann@pgp.test", "bob@plain.test"
CAROL, DOC = "carol@tls.test", f"doc@{OWN}"


@dataclass(frozen=True)
class Signed:
    """A town whose mail is signed."""

    town: Town
    signer: Signer

    def letter_at(self, sink: Sink, address: str) -> Received:
        """Wait for what an address received."""
        sink.wait_for_recipients([address])
        return next(message for message in sink.messages if address in message.addresses)


@pytest.fixture(scope="module")
def built() -> Iterator[Signed]:
    with (
        short_folder() as folder,
        Signer(folder / "dkim", OWN) as signer,
        town(folder, postfix_settings={"smtpd_milters": signer.milter}) as lively,
    ):
        yield Signed(lively, signer)


@pytest.fixture
def signed(built: Signed) -> Signed:
    built.town.clear()
    return built


def _sealed(signed: Signed, message: Received) -> None:
    """One signature of ours, and it holds."""
    signatures = message.values("DKIM-Signature")
    assert len(signatures) == 1
    assert f"d={OWN};" in signatures[0]
    assert signed.signer.judge(message.data).endswith("succeeded")


def test_the_judge_tells_a_broken_signature(signed: Signed) -> None:
    """One changed letter in the body makes a signature invalid."""
    assert signed.town.send(SUE, BOB, message=letter("as it was\r\n")).ok
    received = signed.letter_at(signed.town.outside, BOB)

    assert signed.signer.valid(received.data)
    assert not signed.signer.valid(received.data.replace(b"as it was", b"as it Was"))


@pytest.mark.parametrize("recipient", [ANN, BOB, CAROL])
def test_in_place(signed: Signed, recipient: str) -> None:
    """The original, encrypted, passing or for the TLS route, is signed as it leaves."""
    word = canary()
    line, body = multipart("mixed", part(word.encode() * 500, "application/octet-stream"))
    message = letter(body, subject="the plan", fields=["MIME-Version: 1.0", line])
    assert signed.town.send(SUE, recipient, message=message).ok

    sink = signed.town.tls if recipient == CAROL else signed.town.outside
    _sealed(signed, signed.letter_at(sink, recipient))


def test_every_copy_of_a_split_message(signed: Signed) -> None:
    """Copies that were re-injected are signed like the one that stayed in place."""
    word = canary()
    assert signed.town.send(SUE, DOC, ANN, BOB, CAROL, message=letter(f"{word}\r\n.\r\n", subject="to all")).ok

    places = {ANN: signed.town.outside, BOB: signed.town.outside, CAROL: signed.town.tls, DOC: signed.town.inside}
    copies = {address: signed.letter_at(sink, address) for address, sink in places.items()}
    for copy in copies.values():
        _sealed(signed, copy)
    assert b"BEGIN PGP MESSAGE" in copies[ANN].body
    assert word.encode() in copies[BOB].body
    assert len({copy.values("DKIM-Signature")[0] for copy in copies.values()}) >= 2


def test_8_bit_and_marked_subject(signed: Signed) -> None:
    """The signature is over the subject as marked, and over 8-bit text as sent."""
    message = letter("Grüße\r\n", subject="*secure* Grüße", fields=["Content-Transfer-Encoding: 8bit"])
    assert signed.town.send(SUE, ANN, message=message).ok

    received = signed.letter_at(signed.town.outside, ANN)
    _sealed(signed, received)
    assert received.values("Subject")[0].startswith("[-Encrypted-]")
