"""A packed transaction comes back byte for byte, whatever its header looks like."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import CryptoError
from gatepost.message.address import NULL_SENDER, parse
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Came, Client, Recipient, Transaction
from gatepost.vault.packed import pack, unpack

FIELDS = st.lists(st.builds(Field, st.binary(max_size=20), st.binary(max_size=80)), max_size=8)
PARAMETERS = st.lists(st.sampled_from(["NOTIFY=NEVER", "ORCPT=rfc822;b+40c", "BODY=8BITMIME", "x\udcff"])).map(
    tuple
)


def message(fields: tuple[Field, ...] = (), body: bytes = b"", parameters: tuple[str, ...] = ()) -> Transaction:
    return Transaction(
        client=Client("192.0.2.1", "client.test", "submission", "alice"),
        sender=parse("<älice@hosp.test>".encode()),
        parameters=parameters,
        recipients=(Recipient(parse(b"<Bob@Partner.test>"), parameters), Recipient(parse(b"carol@x.test"))),
        fields=fields,
        body=MemoryBody(body),
        queue_id="4XYZ",
    )


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@given(fields=FIELDS, body=st.binary(max_size=500), parameters=PARAMETERS, step=st.integers(1, 200))
def test_everything_comes_back(fields: list[Field], body: bytes, parameters: tuple[str, ...], step: int) -> None:
    """Envelope, parameters, fields and body are the same after packing: colons, folding and bare CR included."""
    before = message(tuple(fields), body, parameters)
    after = unpack(cut(b"".join(pack(before)), step))
    assert after.body.read() == body
    assert (after.fields, after.sender, after.parameters) == (before.fields, before.sender, before.parameters)
    assert (after.recipients, after.client, after.queue_id) == (before.recipients, before.client, before.queue_id)


def test_who_was_led_to_comes_back() -> None:
    """A recipient behind an alias is released as the one that it was when it was held."""
    ends = (
        Recipient(parse(b"<x@out.test>"), (), parse(b"<both@hosp.test>")),
        Recipient(parse(b"<t@hosp.test>"), (), parse(b"<t@hosp.test>"), tied=True),
    )
    before = replace(message(), recipients=ends)

    assert ends == unpack(pack(before)).recipients


def test_how_it_came_comes_back() -> None:
    """A release tells how the message came; a copy that was held before that was noted came in clear."""
    client = Client("192.0.2.1", came=Came.VERIFIED, certificate="mx.partner.test")
    packed = b"".join(pack(replace(message(), client=client)))

    after = unpack([packed]).client
    assert after == client
    assert after.came is Came.VERIFIED
    older = packed.replace(b', "came": "verified", "certificate": "mx.partner.test"', b"")
    assert unpack([older]).client == Client("192.0.2.1")
    with pytest.raises(CryptoError):
        unpack([packed.replace(b'"verified"', b'"otherwise"')])


def test_null_sender_comes_back() -> None:
    """A bounce can be held, too."""
    before = Transaction(Client(), NULL_SENDER, (), (), (), MemoryBody(b""))
    assert unpack(pack(before)).sender.is_null


def test_message_lies_in_it_as_on_the_wire() -> None:
    """Behind the first line stands the message as it went over the wire."""
    packed = b"".join(pack(message((Field(b"Subject", b" a\n b"),), b"text\r\n")))
    assert packed.partition(b"\n")[2] == b"Subject: a\r\n b\r\n\r\ntext\r\n"


@pytest.mark.parametrize("stream", [b"", b"{}\n", b"nonsense\n", b'{"format": 2}\n', b"[]\n"])
def test_other_streams_are_refused(stream: bytes) -> None:
    """A stream that was not packed here is an error with a text, never half a message."""
    with pytest.raises(CryptoError):
        unpack([stream])


def test_cut_header_is_refused() -> None:
    """A stream that ends inside the header is an error."""
    packed = b"".join(pack(message((Field(b"Subject", b" a"),))))
    with pytest.raises(CryptoError):
        unpack([packed[:-5]])
