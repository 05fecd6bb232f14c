"""Keys of alias look-ups, in Postfix's order."""

import pytest

from gatepost.gateway.alias_keys import address_keys, name_keys, split_tag, tagged


class TestAddressKeys:
    @pytest.mark.parametrize(
        ("address", "delimiters", "by_name", "expected"),
        [
            ("ann@hosp.test", "", False, ["ann@hosp.test", "@hosp.test"]),
            ("ann@hosp.test", "+", True, ["ann@hosp.test", "ann", "@hosp.test"]),
            ("ann+x@hosp.test", "", False, ["ann+x@hosp.test", "@hosp.test"]),
            ("ann+x@hosp.test", "+", False, ["ann+x@hosp.test", "ann@hosp.test", "@hosp.test"]),
            (
                "ann+x@hosp.test",
                "+",
                True,
                ["ann+x@hosp.test", "ann@hosp.test", "ann+x", "ann", "@hosp.test"],
            ),
            ("ann-x+y@hosp.test", "+-", False, ["ann-x+y@hosp.test", "ann@hosp.test", "@hosp.test"]),
            ('"ann"@hosp.test', "", False, ["ann@hosp.test", "@hosp.test"]),
            ('"a b"@hosp.test', "", False, ['"a b"@hosp.test', "a b@hosp.test", "@hosp.test"]),
            (r'"a\"b"@hosp.test', "", False, [r'"a\"b"@hosp.test', 'a"b@hosp.test', "@hosp.test"]),
        ],
    )
    def test_order(self, address: str, delimiters: str, *, by_name: bool, expected: list[str]) -> None:
        """The order of virtual(5) and canonical(5); quotes that nothing needs are taken off."""
        assert expected == [key.text for key in address_keys(address, delimiters, by_name=by_name)]

    def test_only_the_whole_address_is_for_patterns(self) -> None:
        """Patterns see no part of an address, or they would match what they do not match in Postfix."""
        keys = address_keys("ann+x@hosp.test", "+", by_name=True)

        assert ["ann+x@hosp.test"] == [key.text for key in keys if key.whole]

    def test_what_was_taken_off_is_known(self) -> None:
        """The tag goes with the keys from which it was taken, and not with @domain."""
        keys = address_keys("ann+x@hosp.test", "+", by_name=True)

        assert {"ann@hosp.test": "+x", "ann": "+x"} == {key.text: key.tag for key in keys if key.tag}


class TestNameKeys:
    @pytest.mark.parametrize(
        ("local", "delimiters", "expected"),
        [("ann", "+", ["ann"]), ("ann+x", "+", ["ann+x", "ann"]), ("ann+x", "", ["ann+x"])],
    )
    def test_order(self, local: str, delimiters: str, expected: list[str]) -> None:
        """The order of aliases(5)."""
        assert expected == [key.text for key in name_keys(local, delimiters)]


class TestTag:
    @pytest.mark.parametrize(
        ("name", "delimiters", "expected"),
        [
            ("ann+x", "+", ("ann", "+x")),
            ("ann-x+y", "+-", ("ann", "-x+y")),
            ("+x", "+", ("+x", "")),
            ("ann", "+", ("ann", "")),
            ("owner-list", "-", ("owner-list", "")),
            ("list-request", "-", ("list-request", "")),
            ("mailer-daemon", "-", ("mailer-daemon", "")),
        ],
    )
    def test_split(self, name: str, delimiters: str, expected: tuple[str, str]) -> None:
        """The first delimiter counts; names with a meaning of their own are whole."""
        assert expected == split_tag(name, delimiters)

    def test_put_on_targets(self) -> None:
        """The tag stands before the @, or at the end of a bare name."""
        assert ("ann+x@out.test", "bob+x") == tagged(("ann@out.test", "bob"), "+x")
