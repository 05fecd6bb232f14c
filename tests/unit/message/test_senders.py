"""Everybody who might be taken for the sender."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import AddressError
from gatepost.message.address import NULL_SENDER, parse
from gatepost.message.field import Field
from gatepost.message.senders import senders

BOSS = "boss@partner.test"


def named(*values: bytes, envelope: bytes = b"<>") -> list[str]:
    return [one.text for one in senders(parse(envelope), [Field(b"From", value) for value in values])]


@pytest.mark.parametrize(
    "value",
    [
        b" boss@partner.test",
        b" Boss@PARTNER.test",
        b" The Boss <boss@partner.test>",
        b' "Boss, The" <boss@partner.test>',
        b' "boss"@partner.test',
        b' "bo\\ss"@partner.test',
        b" boss @ partner . test",
        b" Dr. boss@partner.test",
        b" boss@\n partner.test",
        b" boss@(a comment)partner.test",
        b" boss@(one (in another \\) ) )partner(x).test",
        b' "(" <boss@(x)partner.test>',
        b" boss@par\x00tner.test",
        b" boss@partner.test.",
        b" <@relay.test:boss@partner.test>",
        b" Group: a@b.test, boss@partner.test;",
        b" mallory@evil.test, boss@partner.test",
        b" boss@partner.test <mallory@evil.test>",
        b" =?utf-8?q?boss=40partner.test?= <mallory@evil.test>",
        b" =?utf-8?b?Ym9zc0BwYXJ0bmVyLnRlc3Q=?=",
        b" caf\xe9 <boss@partner.test>",
    ],
)
def test_no_way_of_writing_hides_an_address(value: bytes) -> None:
    """Whatever some mail program shows as the partner's address is found."""
    assert BOSS in [one.lower() for one in named(value)]


def test_every_from_field_and_the_envelope_count() -> None:
    """A second From field hides nobody, and the envelope's sender comes first; the null sender is nobody."""
    assert named(b" a@b.test", b" boss@partner.test", envelope=b"<out@list.test>") == [
        "out@list.test",
        "a@b.test",
        BOSS,
    ]
    assert named(b" x@y.test", envelope=b"<@relay.test:boss@partner.test>") == [BOSS, "x@y.test"]
    assert senders(NULL_SENDER, ()) == ()


def test_a_long_local_part_keeps_its_domain() -> None:
    """What is too long to be an address is still of its domain."""
    assert [
        one.domain for one in senders(NULL_SENDER, [Field(b"From", b" " + b"x" * 600 + b"@partner.test")])
    ] == ["partner.test"]


def test_international_domains_are_found_as_a_labels() -> None:
    """The partner table holds A-labels."""
    assert named(" boss@B\u00fccher.test".encode()) == ["boss@xn--bcher-kva.test"]


def test_more_than_anybody_needs_is_an_error() -> None:
    """A crowd in From is put off, not looked up."""
    crowd = ", ".join(f"u{number}@x.test" for number in range(101)).encode()

    assert len(named(b" " + crowd.rpartition(b",")[0])) == 100
    with pytest.raises(AddressError, match="more than 100"):
        named(b" " + crowd)


@pytest.mark.parametrize(
    "piece", [b"(", b"\\(", b" ", b'"', b"@", b"@.", b"a", b"=?", b"()", b"(\\", b"=?utf-8?q?", b'"@']
)
def test_it_takes_linear_time(piece: bytes) -> None:
    """A header field as large as a mail server takes costs no more than a moment."""
    began = time.process_time()
    named(b" " + piece * (100_000 // len(piece)))

    assert time.process_time() - began < 5


@given(st.binary(max_size=200))
def test_any_octets_are_read(value: bytes) -> None:
    """No header field makes reading fail."""
    named(value)
