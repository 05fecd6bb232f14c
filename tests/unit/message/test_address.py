"""Envelope addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import AddressError
from gatepost.message import address


class TestParse:
    @pytest.mark.parametrize(
        ("raw", "local", "domain"),
        [
            (b"<bob@Partner.TEST>", "bob", "partner.test"),
            (b"bob@partner.test", "bob", "partner.test"),
            (b"<Bob.Smith+tag@partner.test.>", "Bob.Smith+tag", "partner.test"),
            (b'<"a b"@partner.test>', "a b", "partner.test"),
            (b'<"a@b"@partner.test>', "a@b", "partner.test"),
            (b'<"bob"@partner.test>', "bob", "partner.test"),
            ("<jürgen@bücher.test>".encode(), "jürgen", "xn--bcher-kva.test"),
            (b"<a@FASS.test>", "a", "fass.test"),
            (b"<postmaster>", "postmaster", ""),
            (b"<>", "", ""),
        ],
    )
    def test_reads_local_part_and_domain(self, raw: bytes, local: str, domain: str) -> None:
        """The local part stays as given but for quotes, the domain is lower case and ASCII."""
        found = address.parse(raw)

        assert (local, domain) == (found.local, found.domain)

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (b"<bj\xf6rn@partner.test>", "not UTF-8"),
            (b"<bob\r\n@partner.test>", "control character"),
            (b"<bob\x00@partner.test>", "control character"),
            (b"<@partner.test>", "lacks"),
            (b"<bob@>", "lacks"),
            (b"<" + b"a" * 600 + b"@partner.test>", "512"),
            ("<a@b\u2260.\u2488test>".encode(), "not a domain"),
        ],
    )
    def test_refuses_what_could_not_be_given_back(self, raw: bytes, text: str) -> None:
        """An address that the mail server could not be given back byte for byte is refused, with the reason."""
        with pytest.raises(AddressError, match=text):
            address.parse(raw)

    @given(st.binary(max_size=80))
    def test_keeps_the_bytes(self, raw: bytes) -> None:
        """Whatever is accepted is kept byte for byte and can be written as UTF-8."""
        try:
            found = address.parse(raw)
        except AddressError:
            return

        assert raw == found.raw
        assert raw == found.raw.decode("utf-8").encode("utf-8")

    def test_null_sender(self) -> None:
        """`<>` is the null sender."""
        assert address.parse(b"<>").is_null
        assert not address.parse(b"<a@b.test>").is_null


def test_parent_domains() -> None:
    """Parents are named nearest first."""
    assert ("b.c", "c") == address.parent_domains("a.b.c")
