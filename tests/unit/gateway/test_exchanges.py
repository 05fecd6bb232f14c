"""Captured mail under another author stays encrypted; the same author's is opened as often as it comes."""

from dataclasses import replace
from pathlib import Path

import pysequoia
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeExchanges, World, opened
from tests.gateways import OUTSIDE, gateway_over, message, processed

from gatepost.crypto import packets
from gatepost.decision.demand import Treatment
from gatepost.decision.reader import read_rules
from gatepost.errors import StorageError
from gatepost.gateway.exchanges import Exchanges
from gatepost.gateway.verdict import Accept, Discard
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.edit import apply
from gatepost.message.field import Field, named
from gatepost.message.transaction import Recipient, Transaction

ANNA, CAROL = "anna@hosp.test", "carol@hosp.test"
KIM, EVE = "kim@partner.test", "eve@evil.test"
ENCRYPTED = Field(b"Content-Type", b' multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"')
PLAINTEXT = b"Content-Type: text/plain\r\n\r\ncanary\r\n"


@pytest.fixture(scope="module")
def armor() -> bytes:
    """Give a message that is truly encrypted."""
    certificate = pysequoia.Tsk.generate("hosp.test").extract_certificate()
    return pysequoia.encrypt(b"anything", [certificate])


def incoming(armor: bytes, *recipients: str, sender: str = KIM, fields: tuple[Field, ...] = ()) -> Transaction:
    body = (
        b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + armor.replace(b"\n", b"\r\n") + b"\r\n--b--\r\n"
    )
    return message(*recipients, client=OUTSIDE, sender=sender, fields=(ENCRYPTED, *fields), body=body)


def result(world: World, transaction: Transaction) -> str:
    """Have a message come in as one form; give the result in it."""
    verdict = processed(gateway_over(world), transaction)
    assert isinstance(verdict, Accept)
    (found,) = named(apply(transaction.fields, verdict.form.edits), b"gatepost-result")
    body = verdict.form.body or transaction.body
    assert (b"canary" in body.read()) is ("decrypted=openpgp" in found.value.decode())
    return found.value.decode()


@pytest.fixture
def world() -> World:
    return World(opens={ANNA: opened(PLAINTEXT, "none"), CAROL: opened(PLAINTEXT, "none")})


class TestArrival:
    def test_another_author_gets_nothing_opened(self, world: World, armor: bytes) -> None:
        """The captured message, sent anew to the same or to another insider, stays as it came, flagged."""
        assert "decrypted=openpgp" in result(world, incoming(armor, ANNA))
        world.happened.clear()
        for recipient in (ANNA, CAROL):
            told = result(world, incoming(armor, recipient, sender=EVE))
            assert "decrypted=no" in told
            assert told.endswith("flag=replayed")
        assert not [what for what in world.happened if what.startswith("open")]
        assert len(world.rows) == 1  # no thread of the replay

    def test_the_same_author_again(self, world: World, armor: bytes) -> None:
        """A retry, and the copy for another insider in a transaction of its own, are opened."""
        for recipient in (ANNA, ANNA, CAROL):
            assert "decrypted=openpgp" in result(world, incoming(armor, recipient))

    def test_remembered_before_it_is_opened(self, world: World, armor: bytes) -> None:
        """What is remembered is durable before anything is decrypted; where that fails, the message is put off."""
        result(world, incoming(armor, ANNA))
        assert world.happened.index("exchange") < world.happened.index(f"open for {ANNA} from {KIM}")

        world.faults["exchange"] = StorageError("down")
        world.happened.clear()
        with pytest.raises(StorageError):
            result(world, incoming(armor, ANNA))
        assert not [what for what in world.happened if what.startswith("open")]

    def test_what_is_held_is_remembered(self, world: World, armor: bytes, tmp_path: Path) -> None:
        """While a message is in quarantine, whoever captured it is not the first."""
        (tmp_path / "1.toml").write_text(
            '[[rule]]\nname = "held"\nwhen = { sender = ["kim@partner.test"] }\ndemand = "quarantine"\n'
        )
        gateway = gateway_over(world, rules=read_rules(tmp_path, frozenset()))
        assert isinstance(processed(gateway, incoming(armor, ANNA)), Discard)
        assert [one.treatment for one in world.held] == [Treatment.QUARANTINE]

        assert "flag=replayed" in result(world, incoming(armor, ANNA, sender=EVE))

    def test_a_rehearsal_remembers_nothing(self, world: World, armor: bytes) -> None:
        """Deciding alone, as `explain` does, writes nothing."""
        gateway, transaction = gateway_over(world), incoming(armor, ANNA)
        gateway.plan(transaction, gateway.survey(transaction))

        assert not world.authors


class TestAuthor:
    @pytest.fixture
    def exchanges(self, world: World) -> Exchanges:
        return Exchanges(FakeExchanges(world))

    def came(self, exchanges: Exchanges, armor: bytes, *fields: Field) -> bool:
        recipients = (Recipient(address.parse(b"<anna@hosp.test>")),)
        return exchanges.is_replayed(MemoryBody(armor), fields, recipients)

    @pytest.mark.parametrize(
        "second",
        [
            (Field(b"From", b" Kim <KIM@Partner.test>"), Field(b"Subject", b" again")),
            (Field(b"FROM ", b"\n kim@partner.test"), Field(b"Resent-From", b" eve@evil.test")),
        ],
    )
    def test_the_same(self, exchanges: Exchanges, armor: bytes, second: tuple[Field, ...]) -> None:
        """Case, display name and who resent it make no other author."""
        assert not self.came(exchanges, armor, Field(b"From", b" kim@partner.test"))
        assert not self.came(exchanges, armor, *second)

    @pytest.mark.parametrize(
        "second",
        [
            (Field(b"From", b" eve@evil.test"),),
            (Field(b"From", b" kim@partner.test, eve@evil.test"),),
            (Field(b"From", b" kim@partner.test"), Field(b"From", b" eve@evil.test")),
            (Field(b"From", b" kim@partner.test"), Field(b"Reply-To", b" eve@evil.test")),
            (Field(b"From", b" kim@partner.test"), Field(b"Mail-Followup-To", b" eve@evil.test")),
            (),
        ],
    )
    def test_another(self, exchanges: Exchanges, armor: bytes, second: tuple[Field, ...]) -> None:
        """Another address, several, none, or another place for answers: each is another author."""
        assert not self.came(exchanges, armor, Field(b"From", b" kim@partner.test"))
        assert self.came(exchanges, armor, *second)
        assert not self.came(exchanges, armor, Field(b"From", b" kim@partner.test"))

    def test_no_single_address(self, exchanges: Exchanges, armor: bytes) -> None:
        """Where From names no single address its fields count as they stand."""
        both = Field(b"From", b" kim@partner.test, pat@partner.test")
        assert not self.came(exchanges, armor, both)
        assert not self.came(exchanges, armor, both)
        assert self.came(exchanges, armor, Field(b"From", b" pat@partner.test, kim@partner.test"))

    @given(st.lists(st.sampled_from([b"kim@partner.test", b"eve@evil.test", b"a, b"]), min_size=1, max_size=6))
    def test_the_first_stays_the_first(self, armor: bytes, order: list[bytes]) -> None:
        """Whatever comes in whatever order, only the first author's is ever opened."""
        exchanges = Exchanges(FakeExchanges(World()))
        for one in order:
            assert self.came(exchanges, armor, Field(b"From", one)) is (one != order[0])

    def test_too_many_key_exchanges(self, exchanges: Exchanges) -> None:
        """A message that would fill the table counts as replayed, and leaves nothing there."""
        keys = b"".join(
            b"\xc1\x20\3" + bytes(8) + b"\1" + b"\0\xa0" + bytes([1]) + number.to_bytes(19)
            for number in range(2001)
        )
        assert self.came(exchanges, keys + b"\xd2\x05\1data", Field(b"From", b" kim@partner.test"))


class TestAddressees:
    def test_for_whom_it_came(self, world: World, armor: bytes) -> None:
        """Who got the author's message is known, by alias and address; who got a replay is not."""
        exchanges = Exchanges(FakeExchanges(world))
        fields = (Field(b"From", b" kim@partner.test"),)
        alias = replace(Recipient(address.parse(b"<anna@hosp.test>")), alias=address.parse(b"<sales@hosp.test>"))
        eves = (Field(b"From", b" eve@evil.test"),)

        def known(name: bytes, given: tuple[Field, ...] = fields) -> bool | None:
            return exchanges.was_for(MemoryBody(armor), given, address.parse(name))

        assert known(b"<anna@hosp.test>") is None
        exchanges.is_replayed(MemoryBody(armor), fields, (alias,))
        exchanges.is_replayed(MemoryBody(armor), eves, (Recipient(address.parse(b"<carol@hosp.test>")),))
        assert known(b"<Anna@hosp.test>") is True
        assert known(b"<sales@hosp.test>") is True
        assert known(b"<carol@hosp.test>") is False

    def test_changed_content(self, world: World, armor: bytes) -> None:
        """With its content changed, which CBC lets happen, a known message came in for nobody."""
        exchanges = Exchanges(FakeExchanges(world))
        fields = (Field(b"From", b" kim@partner.test"),)
        anna = Recipient(address.parse(b"<anna@hosp.test>"))
        exchanges.is_replayed(MemoryBody(armor), fields, (anna,))
        binary = packets.dearmor(armor) or b""
        changed = binary[:-1] + bytes([binary[-1] ^ 1])

        assert exchanges.was_for(MemoryBody(changed), fields, anna.address) is False
