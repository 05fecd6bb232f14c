"""DER, written and taken apart."""

import pytest
from cryptography import x509
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import der


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_parts_are_what_was_written(values: list[bytes]) -> None:
    """Elements of any length are found again, one after the other."""
    written = der.sequence(*(der.octets(value) for value in values))
    assert [found for _, _, found in der.parts(der.content(written))] == values


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 24])
def test_lengths(size: int) -> None:
    """Each length has its shortest form (X.690 section 10.1)."""
    head = der.head(0x04, size)
    assert head[0] == 0x04
    if size < 128:
        assert head[1:] == bytes((size,))
    else:
        assert head[1] == 0x80 + len(head) - 2
        assert head[2] != 0
        assert int.from_bytes(head[2:], "big") == size


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "020100"), (2, "020102"), (127, "02017f"), (128, "02020080"), (4711, "02021267")]
)
def test_integers(value: int, expected: str) -> None:
    """An integer that is not negative has a leading zero where its highest bit is set."""
    assert der.integer(value).hex() == expected


@pytest.mark.parametrize("dotted", ["1.2.840.113549.1.7.1", "2.16.840.1.101.3.4.1.42", "1.3.132.1.11.1"])
def test_object_identifiers(dotted: str) -> None:
    """Object identifiers are those that another library writes."""
    name = x509.Name([x509.NameAttribute(ObjectIdentifier(dotted), "x", _validate=False)])
    assert der.oid(dotted) in name.public_bytes()


def test_a_set_is_in_order() -> None:
    """DER orders the elements of a SET OF by their octets."""
    assert der.set_of(b"\x04\x01b", b"\x04\x01a") == der.element(0x31, b"\x04\x01a\x04\x01b")


@given(st.binary(max_size=60))
def test_nonsense_is_a_value_error(data: bytes) -> None:
    """Octets that are no elements are refused; those that are fill the data exactly."""
    try:
        found = list(der.parts(data))
    except ValueError:
        return
    assert b"".join(whole for _, whole, _ in found) == data
