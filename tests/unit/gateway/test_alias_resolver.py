"""Aliases are followed as the mail server follows them, and a doubt counts as outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from gatepost.errors import AliasError
from gatepost.gateway.alias_keys import Key
from gatepost.gateway.alias_resolver import Resolver
from gatepost.gateway.aliases import Destination, Habits, Table
from gatepost.message import address
from gatepost.message.direction import Site

SITE = Site(frozenset({"hosp.test", ".hosp.test"}))


@dataclass
class Tables:
    """Alias tables in memory; `box.hosp.test` is served by local(8)."""

    entries: Mapping[Table, Mapping[str, str]]
    delimiter: str = "+"
    propagate: frozenset[str] = frozenset({"canonical", "virtual"})
    asked: list[str] = field(default_factory=list)

    def habits(self) -> Habits:
        return Habits(
            frozenset(self.entries), "box.hosp.test", "hosp.test", self.delimiter, propagate=self.propagate
        )

    def find(self, table: Table, keys: Sequence[Key]) -> tuple[Key, str] | None:
        entries = self.entries[table]
        self.asked += [key.text for key in keys]
        return next(((key, entries[key.text.lower()]) for key in keys if key.text.lower() in entries), None)

    def is_local(self, domain: str) -> bool:
        return domain == "box.hosp.test"


def ends(tables: Tables, recipient: str) -> list[str]:
    """Follow a recipient; tied ends carry what they lead to in brackets."""
    found = Resolver(tables, SITE.is_internal)(address.parse(f"<{recipient}>".encode()))
    return [
        f"{one.address.text} [{' '.join(to.text for to in one.leads_to)}]" if one.tied else one.address.text
        for one in found
    ]


def virtual(**entries: str) -> Tables:
    return Tables({Table.VIRTUAL: {f"{name}@hosp.test": entry for name, entry in entries.items()}})


def local(**entries: str) -> Tables:
    return Tables({Table.LOCAL: entries})


class TestVirtual:
    @pytest.mark.parametrize(
        ("recipient", "expected"),
        [
            ("none@hosp.test", ["none@hosp.test"]),
            ("one@hosp.test", ["x@out.test"]),
            ("ONE@Hosp.Test", ["x@out.test"]),
            ("one+t@hosp.test", ["x+t@out.test"]),
            ("two@hosp.test", ["a@hosp.test", "x@out.test"]),
            ("chain@hosp.test", ["x@out.test"]),
            ("twice@hosp.test", ["x@out.test", "a@hosp.test"]),
            ("self@hosp.test", ["self@hosp.test", "x@out.test"]),
            ("bare@hosp.test", ["ann@box.hosp.test"]),
            ("short@hosp.test", ["ann@mail.hosp.test"]),
        ],
    )
    def test_entries(self, recipient: str, expected: list[str]) -> None:
        """One into many, recursive; an address that expands to itself stays; bare names are completed."""
        tables = virtual(
            one="x@out.test",
            two="a@hosp.test, x@out.test",
            chain="one@hosp.test",
            twice="one@hosp.test, two@hosp.test",
            self="self@hosp.test, x@out.test",
            bare="ann",
            short="ann@mail",
        )

        assert expected == ends(tables, recipient)

    def test_catch_all_to_a_domain_keeps_the_name(self) -> None:
        """`@domain` in an entry stands for the same name there, tag and all."""
        assert ["ann+t@out.test"] == ends(Tables({Table.VIRTUAL: {"@hosp.test": "@out.test"}}), "ann+t@hosp.test")

    def test_names_without_domain_count_where_local_serves(self) -> None:
        """A bare name is an entry for mydestination and myorigin alone."""
        tables = Tables({Table.VIRTUAL: {"ann": "x@out.test"}})

        assert ["x@out.test"] == ends(tables, "ann@box.hosp.test")
        assert ["x@out.test"] == ends(tables, "ann")
        assert ["ann@hosp.test"] == ends(tables, "ann@hosp.test")

    def test_domains_with_other_letters(self) -> None:
        """A domain is looked up with U-labels as well as with A-labels."""
        site_domain = "b\u00fccher.test"
        tables = Tables({Table.VIRTUAL: {f"ann@{site_domain}": "x@out.test"}})

        assert ["x@out.test"] == ends(tables, f"ann@{site_domain}")

    @pytest.mark.parametrize(
        "tables",
        [
            virtual(a="b@hosp.test", b="a@hosp.test"),
            virtual(a="b@hosp.test, c@hosp.test", b="a@hosp.test"),
            Tables({Table.VIRTUAL: {"@hosp.test": "@x.hosp.test", "@x.hosp.test": "@hosp.test"}}),
            virtual(a=", ".join(f"x{number}@out.test" for number in range(1001))),
            virtual(a="not an address"),
        ],
    )
    def test_no_way_out_is_an_error(self, tables: Tables) -> None:
        """A circle, too many targets or an unreadable entry is never taken for no alias."""
        with pytest.raises(AliasError):
            ends(tables, "a@hosp.test")

    def test_without_tables_nothing_is_asked(self) -> None:
        """Where all parameters are empty a recipient costs nothing."""
        tables = Tables({})

        assert ["ann@hosp.test"] == ends(tables, "ann@hosp.test")
        assert [] == tables.asked

    def test_the_recipient_stays_byte_for_byte(self) -> None:
        """Whom no alias leads elsewhere is given back as received."""
        recipient = address.parse(b"<Ann@HOSP.test>")

        assert (Destination(recipient),) == Resolver(virtual(b="x@out.test"), SITE.is_internal)(recipient)


class TestCanonical:
    def test_comes_first_and_again(self) -> None:
        """recipient_canonical_maps, then canonical_maps, each until nothing is found, then virtual aliases."""
        tables = Tables(
            {
                Table.VIRTUAL: {"d@hosp.test": "x@out.test"},
                Table.CANONICAL: {"c@hosp.test": "d@hosp.test"},
                Table.RECIPIENT_CANONICAL: {"a@hosp.test": "b@hosp.test", "b@hosp.test": "c@hosp.test"},
            }
        )

        assert ["x+t@out.test"] == ends(tables, "a+t@hosp.test")

    def test_a_circle_is_an_error(self) -> None:
        """A rewriting without end is told."""
        entries = {"a@hosp.test": "b@hosp.test", "b@hosp.test": "a@hosp.test"}
        with pytest.raises(AliasError, match="canonical_maps: the entries for"):
            ends(Tables({Table.CANONICAL: entries}), "a@hosp.test")


class TestLocal:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("x@out.test", ["x@out.test"]),
            ("bob, eve", ["ann@box.hosp.test"]),
            ("bob, x@out.test", ["bob@box.hosp.test", "x@out.test"]),
            ("ann, bob", ["ann@box.hosp.test"]),
            ("/var/mail/all", ["ann@box.hosp.test"]),
            (r"\ann, x@out.test", ["ann@box.hosp.test [x@out.test]"]),
            ("ann, x@out.test", ["ann@box.hosp.test [x@out.test]"]),
            ("ANN@box.hosp.test, x@out.test", ["ann@box.hosp.test [x@out.test]"]),
            ("/var/mail/all, x@out.test", ["ann@box.hosp.test [x@out.test]"]),
            ('"|cmd"', ["ann@box.hosp.test []"]),
            (":include:/etc/list", ["ann@box.hosp.test []"]),
            ("away", ["y@out.test"]),
            ("away, ann", ["ann@box.hosp.test [y@out.test]"]),
            ("tied, bob", ["tied@box.hosp.test [z@out.test]", "bob@box.hosp.test"]),
            ("mapped@hosp.test", ["m@out.test"]),
        ],
    )
    def test_entries(self, entry: str, expected: list[str]) -> None:
        """Inside and outside part where they can; what cannot be parted, or told, is tied."""
        aliases = {"ann": entry, "away": "y@out.test", "tied": "tied, z@out.test"}
        tables = Tables({Table.LOCAL: aliases, Table.VIRTUAL: {"mapped@hosp.test": "m@out.test"}})

        assert expected == ends(tables, "ann@box.hosp.test")

    def test_names_are_looked_up_in_lower_case_and_without_tag(self) -> None:
        """local(8) folds names, and tries them with their tag and then without."""
        tables = local(ann="x@out.test", **{"ann+t": "y@out.test"})

        assert ["x@out.test"] == ends(tables, "ANN+u@box.hosp.test")
        assert ["y@out.test"] == ends(tables, "Ann+T@box.hosp.test")

    def test_other_domains_have_no_such_aliases(self) -> None:
        """aliases(5) counts only where local(8) serves."""
        assert ["ann@hosp.test"] == ends(local(ann="x@out.test"), "ann@hosp.test")

    def test_a_circle_is_an_error(self) -> None:
        """A circle of aliases is told."""
        with pytest.raises(AliasError, match="alias_maps: the entries for"):
            ends(local(ann="bob", bob="eve", eve="bob"), "ann@box.hosp.test")

    def test_a_route_is_tied(self) -> None:
        """An alias to an inside address that names a route may lead anywhere."""
        assert ["u%far@hosp.test []"] == ends(virtual(a="u%far@hosp.test"), "a@hosp.test")
