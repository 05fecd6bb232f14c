"""Entries of alias tables."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import AliasError
from gatepost.gateway import alias_entry


class TestAddresses:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("a@x.test", ("a@x.test",)),
            ("a@x.test, b ,c@y.test,", ("a@x.test", "b", "c@y.test")),
            ("Ann <a@x.test>, b@x.test", ("a@x.test", "b@x.test")),
            ('"Huber, Ann" <a@x.test>', ("a@x.test",)),
            ('"a b"@x.test', ('"a b"@x.test',)),
            ("@x.test", ("@x.test",)),
        ],
    )
    def test_read(self, entry: str, expected: tuple[str, ...]) -> None:
        """Addresses stand between commas, with names or without."""
        assert expected == alias_entry.addresses(entry)

    @pytest.mark.parametrize(
        "entry", ["", ",", "a@x.test b@x.test", "a@x.test (Ann)", '"a@x.test', "<a@x.test", "a@x.test;b@x.test"]
    )
    def test_what_cannot_be_read_with_certainty_is_an_error(self, entry: str) -> None:
        """Nobody is overlooked: an entry that may be read in two ways is refused."""
        with pytest.raises(AliasError):
            alias_entry.addresses(entry)

    @given(st.lists(st.from_regex(r"[a-z0-9+._-]{1,9}@[a-z]{1,5}\.test", fullmatch=True), min_size=1, max_size=9))
    def test_round_trip(self, addresses: list[str]) -> None:
        """What is written with commas is read back."""
        assert tuple(addresses) == alias_entry.addresses(", ".join(addresses))

    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused(self, entry: str) -> None:
        """No text raises anything but AliasError."""
        with contextlib.suppress(AliasError):
            assert alias_entry.addresses(entry)


class TestLocalTargets:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("a, b@x.test", ("a", "b@x.test")),
            ('"|cmd a, b", c', ("|cmd a, b", "c")),
            ("|cmd", ("|cmd",)),
            ("/var/mail/all", ("/var/mail/all",)),
            (":include:/etc/list", (":include:/etc/list",)),
            (r"\ann, ann@x.test", (r"\ann", "ann@x.test")),
        ],
    )
    def test_read(self, entry: str, expected: tuple[str, ...]) -> None:
        """Commands, files, lists and mailboxes are given as they stand."""
        assert expected == alias_entry.local_targets(entry)
