"""A message's key: the same at each of its tries, another for every other message."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.gateway.identity import has_own_id, key_of
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

BOB, CAROL = Recipient(parse(b"<bob@p.test>"), ("NOTIFY=NEVER",)), Recipient(parse(b"<carol@p.test>"))
OWN = Field(b"Message-ID", b" <1@hosp.test>")
DATE = Field(b"Date", b" Thu, 1 Jan 2026 12:00:00 +0000 (UTC)")
LATER = Field(b"Date", b" Thu, 1 Jan 2026 12:05:00 +0000 (UTC)")
MESSAGE = Transaction(
    client=Client("192.0.2.1", authenticated="alice"),
    sender=parse(b"<alice@hosp.test>"),
    parameters=("RET=HDRS",),
    recipients=(BOB, CAROL),
    fields=(Field(b"Subject", b" x"), DATE, OWN),
    body=MemoryBody(b"body\r\n"),
    queue_id="4FIRST",
)


def key(transaction: Transaction, *, inside: bool = True) -> bytes:
    return key_of(transaction, inside=inside)


def test_another_try_has_the_same_key() -> None:
    """Another queue ID, another of the client's addresses: the same message."""
    again = replace(MESSAGE, queue_id="4NEXT", client=Client("192.0.2.2", authenticated="alice"))

    assert key(MESSAGE) == key(again)


CHANGES: dict[str, Callable[[Transaction], Transaction]] = {
    "login": lambda one: replace(one, client=Client("192.0.2.1", authenticated="mallory")),
    "sender": lambda one: replace(one, sender=parse(b"<Alice@hosp.test>")),
    "parameters of MAIL": lambda one: replace(one, parameters=()),
    "order of recipients": lambda one: replace(one, recipients=(CAROL, BOB)),
    "fewer recipients": lambda one: replace(one, recipients=(BOB,)),
    "parameters of RCPT": lambda one: replace(one, recipients=(replace(BOB, parameters=()), CAROL)),
    "a field": lambda one: replace(one, fields=(*one.fields, Field(b"X", b""))),
    "case of a field": lambda one: replace(one, fields=(Field(b"subject", b" x"), DATE, OWN)),
    "order of fields": lambda one: replace(one, fields=one.fields[::-1]),
    "date": lambda one: replace(one, fields=(Field(b"Subject", b" x"), LATER, OWN)),
    "Message-ID": lambda one: replace(one, fields=(*one.fields[:2], Field(b"Message-ID", b" <2@hosp.test>"))),
    "body": lambda one: replace(one, body=MemoryBody(b"body\r\n\r\n")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_message_has_another_key(change: str) -> None:
    """Whatever differs in envelope, header or body, and whoever else hands it in."""
    assert key(MESSAGE) != key(CHANGES[change](MESSAGE))


def test_who_is_outside_names_nothing_of_the_inside() -> None:
    """What was done for an inside client never stands for an outside one."""
    assert key(MESSAGE, inside=True) != key(MESSAGE, inside=False)


def made(
    queue_id: str, date: Field, form: str = "20260101120000.{}@mail.hosp.test", prefix: str = ""
) -> Transaction:
    """Give the message without Message-ID and Date, as the mail server completes it."""
    name = f"{prefix}Message-Id".encode()
    fields = (Field(b"Subject", b" x"), Field(name, f" <{form.format(queue_id)}>".encode()))
    dated = replace(date, name=f"{prefix}Date".encode())
    return replace(MESSAGE, queue_id=queue_id, fields=(*fields, dated, Field(b"From", b" alice@hosp.test")))


@pytest.mark.parametrize(
    "form", ["20260101120000.{}@mail.hosp.test", "{}@mail.hosp.test", "202601011200.{}@mail.hosp.test"]
)
@pytest.mark.parametrize("prefix", ["", "Resent-"])
def test_what_the_mail_server_made_is_left_out(form: str, prefix: str) -> None:
    """A Message-ID of our own queue ID and the Date beside it differ at each try, in every form there is."""
    first, second = made("4FIRST", DATE, form, prefix), made("4NEXT", LATER, form, prefix)

    assert key(first) == key(second)
    assert not has_own_id(first)


def test_what_a_filter_wrote_of_this_try_is_left_out() -> None:
    """Our queue ID in a field of a filter before us tells nothing of the message."""
    first = replace(MESSAGE, fields=(*MESSAGE.fields, Field(b"DKIM-Filter", b" v1 host 4FIRST")))
    second = replace(MESSAGE, queue_id="4NEXT", fields=(*MESSAGE.fields, Field(b"DKIM-Filter", b" v1 host 4NEXT")))

    assert key(first) == key(second)


@pytest.mark.parametrize(
    "value", [b" <1@hosp.test>", b" <20260101120000.4OTHER@mail.hosp.test>", b" <4FIRST.x@mail.hosp.test>", b" <>"]
)
def test_a_message_id_of_its_own_counts(value: bytes) -> None:
    """One that was there, and one that another mail server made, are the message's own."""
    assert has_own_id(replace(MESSAGE, fields=(Field(b"Message-ID", value),)))


def test_no_message_id_is_none_of_its_own() -> None:
    """Where there is none, equal messages may be two."""
    assert not has_own_id(replace(MESSAGE, fields=()))


@given(st.lists(st.text(alphabet="ab:", max_size=3), min_size=2, max_size=4), st.integers(0, 12))
def test_no_bytes_wander(texts: list[str], cut: int) -> None:
    """The same octets in other fields, or in header and body otherwise parted, are another message."""
    whole = "".join(texts)
    parted = [whole[:cut], whole[cut:]]

    def of(values: list[str]) -> bytes:
        return key(replace(MESSAGE, fields=tuple(Field(b"X", one.encode()) for one in values)))

    assert (of(texts) == of(parted)) == (texts == parted)


def test_parameters_do_not_pass_for_recipients() -> None:
    """What stands in one command is never read as another: the number of its parts counts."""
    bob = Recipient(BOB.address)
    two = replace(MESSAGE, parameters=(), recipients=(bob, CAROL))
    one = replace(MESSAGE, parameters=("recipient", bob.address.raw.decode()), recipients=(CAROL,))

    assert key(two) != key(one)


def test_a_body_does_not_pass_for_a_field() -> None:
    """Where the header ends is part of the key, whatever the body begins with."""
    parts = (b"field", b"X", b" y")
    written = len(parts).to_bytes(8) + b"".join(len(part).to_bytes(8) + part for part in parts)
    field = replace(MESSAGE, fields=(*MESSAGE.fields, Field(b"X", b" y")))
    body = replace(MESSAGE, body=MemoryBody(written + b"body\r\n"))

    assert key(field) != key(body)


def test_without_a_queue_id_all_counts() -> None:
    """Where no queue ID is known, nothing is left out."""
    unknown = replace(MESSAGE, queue_id="")

    assert key(unknown) == key(MESSAGE)
    assert key(unknown) != key(replace(unknown, fields=unknown.fields[1:]))


def test_only_the_date_beside_the_mail_servers_id_is_left_out() -> None:
    """Of two Date fields the last is what the mail server made; the other is the message's own."""
    theirs = Field(b"Message-ID", b" <20260101120000.4FIRST@mx.hosp.test>")
    before = replace(MESSAGE, fields=(DATE, DATE, theirs))

    assert key(before) == key(replace(before, fields=(DATE, LATER, theirs)))
    assert key(before) != key(replace(before, fields=(LATER, DATE, theirs)))
