"""A message read from bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.message.field import Field
from gatepost.message.read import split


@pytest.mark.parametrize(
    ("raw", "fields", "body"),
    [
        (b"", (), b""),
        (b"Subject: a\r\n\r\nbody\r\n", (Field(b"Subject", b" a"),), b"body\r\n"),
        (b"Subject: a\n\nbody\n", (Field(b"Subject", b" a"),), b"body\r\n"),
        (b"Subject : a\n b\n\tc\n\n", (Field(b"Subject", b" a\n b\n\tc"),), b""),
        (b"no header at all\n", (), b"no header at all\r\n"),
        (b"A: 1\nno field\nB: 2\n", (Field(b"A", b" 1"),), b"no field\r\nB: 2\r\n"),
        (b"A:1\n\n\nx", (Field(b"A", b"1"),), b"\r\nx"),
        (b"\nbody", (), b"body"),
    ],
)
def test_splits_as_a_mail_server_does(raw: bytes, fields: tuple[Field, ...], body: bytes) -> None:
    """Fields stay raw; the first line that is no field begins the body."""
    assert (fields, body) == split(raw)


@given(st.binary(max_size=300))
def test_loses_nothing(raw: bytes) -> None:
    """Every octet but line ends and white space before a colon is in a field or in the body."""
    fields, body = split(raw)
    kept = b"".join(field.name + b":" + field.value for field in fields) + body

    def without(data: bytes) -> bytes:
        return data.translate(None, b"\r\n \t")

    assert without(raw) == without(kept)
