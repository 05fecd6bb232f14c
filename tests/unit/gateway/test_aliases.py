"""Who stands in a recipient's place once the site's aliases are followed."""

from gatepost.gateway.aliases import Aliases, Destination
from gatepost.message import address
from gatepost.message.address import Address
from gatepost.message.direction import Site
from gatepost.message.transaction import Recipient

SITE = Site(frozenset({"hosp.test"}))
PARAMETERS = ("NOTIFY=NEVER",)


def at(text: str) -> Address:
    return address.parse(f"<{text}>".encode())


def aliases(*, parts: bool = True, **ends: tuple[str, ...]) -> Aliases:
    """Aliases of names at hosp.test; a leading `=` stands for tied."""

    def resolve(recipient: Address) -> tuple[Destination, ...]:
        found = ends.get(recipient.local, (recipient.text,))
        return tuple(Destination(at(one.removeprefix("=")), tied=one.startswith("=")) for one in found)

    return Aliases(resolve, SITE.is_internal, parts=parts)


def followed(found: Aliases, *recipients: str) -> list[tuple[str, str]]:
    """Give each recipient to decide about, and the alias that led there."""
    given = [Recipient(at(one), PARAMETERS) for one in recipients]
    return [(one.address.text, one.alias.text if one.alias else "") for one in found.follow(given)]


class TestFollow:
    def test_outsiders_are_not_looked_up(self) -> None:
        """An outside recipient stays as it is, whatever a table says of its name."""
        assert [("ann@out.test", "")] == followed(aliases(ann=("x@far.test",)), "ann@out.test")

    def test_inside_targets_stay_one_recipient(self) -> None:
        """An alias that stays inside stays in the envelope, and a copy sent again goes to its targets."""
        found = aliases(team=("a@hosp.test", "b@hosp.test")).follow([Recipient(at("team@hosp.test"))])

        assert [("team@hosp.test", None)] == [(one.address.text, one.alias) for one in found]
        assert (at("a@hosp.test"), at("b@hosp.test")) == found[0].targets

    def test_one_outside_target_parts_all(self) -> None:
        """One outside target is enough: every target becomes a recipient with the original's parameters."""
        found = aliases(both=("a@hosp.test", "x@out.test")).follow([Recipient(at("both@hosp.test"), PARAMETERS)])

        assert [("a@hosp.test", PARAMETERS), ("x@out.test", PARAMETERS)] == [
            (one.address.text, one.parameters) for one in found
        ]
        assert {at("both@hosp.test")} == {one.alias for one in found}

    def test_tied_ones_are_not_ours(self) -> None:
        """A tied recipient has an inside address and counts as outside."""
        (found,) = aliases(t=("=t@hosp.test",)).follow([Recipient(at("t@hosp.test"))])

        assert found.tied
        assert not SITE.is_ours(found)

    def test_nobody_stands_twice(self) -> None:
        """Who is named, and is behind one or two aliases as well, gets one copy."""
        known = aliases(
            both=("a@hosp.test", "x@out.test"), more=("X@out.test", "y@out.test"), team=("y@hosp.test",)
        )
        assert [
            ("x@out.test", ""),
            ("a@hosp.test", "both@hosp.test"),
            ("y@out.test", "more@hosp.test"),
        ] == followed(known, "x@out.test", "both@hosp.test", "more@hosp.test")

    def test_the_ends_of_aliases_are_not_followed_again(self) -> None:
        """A held copy's recipients stay whom the alias led to when the copy was held."""
        end = Recipient(at("self@hosp.test"), alias=at("both@hosp.test"))

        assert (end,) == aliases(self=("self@hosp.test", "x@out.test")).follow([end])

    def test_when_held_copies_go_nothing_is_parted(self) -> None:
        """A held copy's recipient whose alias leads outside by now counts as outside, whole."""
        found = aliases(parts=False, both=("a@hosp.test", "x@out.test"))
        (one,) = found.follow([Recipient(at("both@hosp.test"))])

        assert one.tied
        assert one == Recipient(at("both@hosp.test"), tied=True)
        assert (at("x@out.test"),) == one.leads_to


class TestInside:
    def test_only_insiders_are_given(self) -> None:
        """Notices go to those behind an address who are inside for certain."""
        found = aliases(both=("a@hosp.test", "x@out.test", "=t@hosp.test"))

        assert (at("a@hosp.test"),) == found.inside(at("both@hosp.test"))
        assert (at("admin@far.test"),) == found.inside(at("admin@far.test"))
