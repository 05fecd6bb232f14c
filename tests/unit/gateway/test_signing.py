"""Signing on the way out: which copies, with whose keys, and in which form."""

import base64
import email
from dataclasses import replace

import pytest
from tests.fakes import World
from tests.gateways import BODY, OUTSIDE, gateway_over, message, processed

from gatepost.decision.plan import Plan
from gatepost.errors import CryptoError, WorkerError
from gatepost.gateway.verdict import Accept
from gatepost.message.edit import Form, apply
from gatepost.message.field import Field
from gatepost.message.transaction import Transaction

ALICE = "alice@hosp.test"
BOB, CARL = "bob@keys.test", "carl@plain.test"
TEXT = Field(b"Content-Type", b" text/plain; charset=utf-8")
EIGHT_BIT = Field(b"Content-Transfer-Encoding", b" 8bit")


@pytest.fixture
def world() -> World:
    """Give a world where Bob is encrypted to, Carl gets mail as it is, and our domain has a key."""
    world = World()
    world.key("keys.test")
    world.partner("keys.test", demand="encrypt")
    world.key("hosp.test", own=True)
    return world


def _plan(world: World, transaction: Transaction, *, when: str = "protected", required: bool = False) -> Plan:
    gateway = gateway_over(world, when=when, required=required)
    return gateway.plan(transaction, gateway.survey(transaction))


def _in_place(world: World, transaction: Transaction, *, when: str = "protected") -> Form:
    verdict = processed(gateway_over(world, when=when), transaction)
    assert isinstance(verdict, Accept)
    return verdict.form


def _reasons(plan: Plan) -> str:
    return "; ".join(plan.judgements[0].reasons)


def test_what_is_encrypted_is_signed_first(world: World) -> None:
    """A copy that is encrypted holds a multipart/signed whose first part is what was written."""
    form = _in_place(world, message(BOB, fields=(TEXT,)))

    assert world.happened.count(f"sign with openpgp for {ALICE} from {ALICE}") == 1
    assert form.body is not None
    armor = form.body.read().split(b"ENCRYPTED TO keys.test\r\n")[1].split(b"\r\n")[0]
    inner = email.message_from_bytes(bytes.fromhex(armor.decode()))
    assert inner.get_content_type() == "multipart/signed"
    assert inner["Content-Type"].startswith('multipart/signed; protocol="application/pgp-signature"; micalg=fake;')
    assert world.entities == [TEXT.wire() + b"\r\n" + BODY]
    assert world.entities[0] in bytes.fromhex(armor.decode())


def test_what_passes_is_signed_where_asked(world: World) -> None:
    """With `always` an open copy is signed as such: its content moves inside, all other fields stay."""
    transaction = message(CARL, fields=(TEXT, EIGHT_BIT), body="Grüße\r\n".encode())
    assert not _plan(world, transaction).copies[0].signed

    form = _in_place(world, transaction, when="always")

    fields = apply(transaction.fields, form.edits)
    assert [field.key for field in fields].count(b"content-type") == 1
    assert not [field for field in fields if field.key == b"content-transfer-encoding"]
    assert world.entities == [
        TEXT.wire() + b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n"
    ]
    assert form.body is not None
    assert world.entities[0] in form.body.read()


def test_rows_say_otherwise(world: World) -> None:
    """A partner's row wins over the setting, both ways, and whom it parts shares no copy."""
    world.partner("plain.test", sign="always")
    plan = _plan(world, message(BOB, CARL, "dora@else.test"))
    assert {str(copy.recipients[0].address): copy.signed for copy in plan.copies} == {
        BOB: "openpgp",
        CARL: "openpgp",
        "dora@else.test": "",
    }
    assert "signed with key of hosp.test" in _reasons(plan)

    world.partner("keys.test", demand="encrypt", sign="never")
    assert not _plan(world, message(BOB), when="always").copies[0].signed


def test_insiders_are_not_signed_for(world: World) -> None:
    """A copy among insiders stays as it is, also beside one that is signed."""
    plan = _plan(world, message("doc@hosp.test", CARL), when="always")

    assert [(str(copy.recipients[0].address), copy.signed) for copy in plan.copies] == [
        ("doc@hosp.test", ""),
        (CARL, "openpgp"),
    ]


@pytest.mark.parametrize(
    ("transaction", "why"),
    [
        (message(BOB, sender=""), "no envelope sender"),
        (message(BOB, fields=(Field(b"List-Id", b" <l.hosp.test>"),)), "mailing list"),
        (message(BOB, fields=(Field(b"From", b" x@hosp.test"),)), "no single address"),
        (message(BOB, fields=(Field(b"Content-Type", b" multipart/signed; boundary=x"),)), "already"),
        (message(BOB, fields=(Field(b"Content-Type", b" application/pkcs7-mime"),)), "already"),
        (
            message(BOB, fields=(Field(b"Content-Type", b" multipart/report; report-type=delivery-status"),)),
            "a report",
        ),
        (message(BOB, sender="eve@else.test"), "not ours"),
    ],
)
def test_what_stays_as_it_is(world: World, transaction: Transaction, why: str) -> None:
    """Lists, reports, mail without sender or without one author of ours, what is signed already: not signed."""
    plan = _plan(world, transaction, when="always")

    assert not plan.is_signed
    assert f"not signed: {why}" in _reasons(plan) or why in _reasons(plan)


def test_only_mail_from_inside(world: World) -> None:
    """An outside client gets nothing signed, whoever From names."""
    plan = _plan(world, message(BOB, client=OUTSIDE), when="always")

    assert not plan.is_signed


def test_somebody_elses_key(world: World) -> None:
    """An address's key signs only where From and envelope sender are that address."""
    del world.keys["hosp.test"]
    world.key("boss@hosp.test", own=True)
    fields = message(BOB).fields[1:]

    for sender, signed in (("boss@hosp.test", "openpgp"), (ALICE, "")):
        fields_of_boss = (Field(b"From", b" The Boss <boss@hosp.test>"), *fields)
        transaction = replace(message(BOB, sender=sender), fields=fields_of_boss)
        assert _plan(world, transaction).copies[0].signed == signed


def test_a_key_that_is_not_ours(world: World) -> None:
    """A partner's key under one of our addresses, as another site may have it, signs nothing."""
    world.key("alice@hosp.test")
    assert "signed with key of hosp.test" in _reasons(_plan(world, message(BOB)))


def test_without_keys_nobody_is_asked() -> None:
    """A site without keys of its own looks none up for an author, and gives no reasons."""
    world = World()
    world.partner("plain.test", sign="always")
    plan = _plan(world, message(CARL))

    assert "key" not in world.happened
    assert "signed" not in _reasons(plan)


def test_a_key_that_is_not_usable(world: World) -> None:
    """An expired key does not sign; the reason says that there is none."""
    world.key("hosp.test", own=True, refusal="expired on 2020-01-01")
    plan = _plan(world, message(BOB))

    assert not plan.is_signed
    assert "not signed: there is no openpgp key of its author that may sign" in _reasons(plan)


def test_a_worker_that_does_not_answer(world: World) -> None:
    """A message to be signed waits for the key worker."""
    world.faults[f"sign with openpgp for {ALICE} from {ALICE}"] = WorkerError("down")

    with pytest.raises(WorkerError):
        processed(gateway_over(world), message(BOB))
    assert "submit" not in world.happened


def test_what_turns_out_not_to_be_signed(world: World) -> None:
    """Where the worker has no key after all, the copy goes encrypted and unsigned, and the record says so."""
    world.signs = False
    form = _in_place(world, message(BOB))

    assert form.body is not None
    assert BODY.hex().encode() in form.body.read()
    assert "yet not signed" in "; ".join(world.events[0].reasons)


def test_what_cannot_be_made_safe(world: World) -> None:
    """Mail that cannot be made safe for its way goes unsigned, byte for byte."""
    text = Field(b"Content-Type", b" text/plain; name=\xff")
    form = _in_place(world, message(CARL, fields=(text,)), when="always")

    assert form.body is None
    assert not world.entities
    assert "cannot be made safe" in "; ".join(world.events[0].reasons)


def test_where_signing_is_required(world: World) -> None:
    """With `required`, what cannot be signed is held, or put off where only the worker knows."""
    world.signs = False
    with pytest.raises(CryptoError, match="signs"):
        processed(gateway_over(world, required=True), message(BOB))

    del world.keys["hosp.test"]
    plan = _plan(world, message(BOB), required=True)
    assert plan.judgements[0].treatment == "quarantine"
    assert "not signed: there is no openpgp key" in _reasons(plan)


def test_the_body_is_needed(world: World) -> None:
    """The mail server must show the body of what may be signed, and of nothing else."""
    assert gateway_over(world, when="always").survey(message(CARL)).needs_body
    assert not gateway_over(world).survey(message(CARL)).needs_body
    assert not gateway_over(World(), when="always").survey(message(CARL)).needs_body


def _autocrypt(world: World, transaction: Transaction, *, when: str = "protected") -> list[bytes]:
    form = _in_place(world, transaction, when=when)
    return [field.value for field in apply(transaction.fields, form.edits) if field.key == b"autocrypt"]


@pytest.mark.parametrize("when", ["never", "protected"])
def test_the_key_comes_along(world: World, when: str) -> None:
    """A copy in OpenPGP brings the author's key, or that of the author's domain, signed or not."""
    (value,) = _autocrypt(world, message(BOB), when=when)

    assert value.startswith(b" addr=alice@hosp.test; prefer-encrypt=mutual;\n keydata=\n ")
    assert base64.b64decode(value.partition(b"keydata=")[2]) == b"minimal hosp.test|"


def test_a_colleagues_key_does_not_come_along(world: World) -> None:
    """Who writes a colleague's name into From gets not that colleague's key, but the domain's."""
    world.key("boss@hosp.test", own=True)
    boss = replace(message(BOB), fields=(Field(b"From", b" boss@hosp.test"), *message(BOB).fields[1:]))
    (value,) = _autocrypt(world, boss)

    assert base64.b64decode(value.partition(b"keydata=")[2]) == b"minimal hosp.test|"


def test_whose_key_does_not_come_along(world: World) -> None:
    """A user's own field stays alone; what passes unsigned, and who has no usable key of ours, brings none."""
    own = Field(b"Autocrypt", b" addr=alice@hosp.test; keydata=AAAA")
    assert _autocrypt(world, message(BOB, fields=(own,))) == [own.value]
    assert _autocrypt(world, message(CARL)) == []
    world.key("hosp.test", own=True, refusal="revoked")
    assert _autocrypt(world, message(BOB)) == []
    world.key("hosp.test")
    assert _autocrypt(world, message(BOB)) == []
