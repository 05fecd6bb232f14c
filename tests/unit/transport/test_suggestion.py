"""Which domains could take assured TLS, and the command that says so."""

import asyncio
import shlex
from collections.abc import Sequence

import pytest
from tests.fakes import World
from typer.testing import CliRunner

from gatepost.cli.main import app
from gatepost.directory.partner import Partner
from gatepost.directory.partner_rules import read_partner
from gatepost.directory.usage import DomainUse
from gatepost.errors import AddressError, StorageError
from gatepost.transport.capability import Capability, Discovery, Method
from gatepost.transport.suggestion import Adviser, Suggestion
from gatepost.transport.tls_check import Checked

NOTHING = Method(assured=False)


class Checker:
    """Answers as `tls check` would."""

    def __init__(self, *, detour: str = "", **answers: Capability) -> None:
        self._detour = detour
        self._answers = {name.replace("_", "."): found for name, found in answers.items()}
        self.asked: list[str] = []

    async def check(self, domain: str) -> Checked:
        self.asked.append(domain)
        if " " in domain:
            raise AddressError(f"{domain!r} is no domain")
        found = self._answers.get(domain, Capability(domain, assured=False))
        discovery = Discovery(domain, (), NOTHING, NOTHING, (), 60)
        return Checked(domain, found, discovery, self._detour, (), ("a step",))


def assured(by: str) -> Capability:
    return Capability("hop", assured=True, by=by, policy="dane-only")


def use(domain: str, protected: int = 10, *, enveloped: int = 0, held: int = 0, by_tls: int = 0) -> DomainUse:
    return DomainUse(domain, protected, enveloped, held, by_tls)


def suggested(
    checker: Checker,
    *uses: DomainUse,
    world: World | None = None,
    ladder: Sequence[str] = ("smime", "openpgp", "securedoc", "pickup"),
    most: int = 10,
) -> tuple[Suggestion, ...]:
    adviser = Adviser(
        partners=world or World(),
        checks=checker,
        is_internal=lambda domain: domain == "hosp.test",
        ladder=ladder,
    )
    return asyncio.run(adviser.suggest(uses, least=5, most=most))


@pytest.mark.parametrize("by", ["dane", "mta-sts"])
def test_a_domain_that_can_take_tls(by: str) -> None:
    """The command names what assures, and keeps the rungs with a key before TLS."""
    (found,) = suggested(Checker(a_test=assured(by)), use("a.test"))

    assert found.text == f"gatepost partner add a.test --ladder smime,openpgp,tls,securedoc,pickup --tls {by}"
    assert (found.by, found.steps, found.reason) == (by, ("a step",), "")


def test_who_is_looked_at() -> None:
    """Only domains with enough copies that did not go by TLS; not ours; the most troublesome first."""
    uses = (
        use("few.test", 4),
        use("tls.test", 100, by_tls=96),
        use("hosp.test"),
        use("many.test", 50),
        use("held.test", 6, held=3),
        use("enveloped.test", 6, enveloped=5),
    )
    checker = Checker()
    suggested(checker, *uses, most=2)
    assert checker.asked == ["enveloped.test", "held.test"]
    suggested(checker, *uses)
    assert checker.asked[2:] == ["enveloped.test", "held.test", "many.test"]


def test_who_has_a_policy_is_left_out() -> None:
    """A row with TLS, the domain's own or one that covers it, needs no advice."""
    world = World()
    world.partner("a.test", tls="verify")
    world.partner(".b.test", tls="dane")
    checker = Checker(a_test=assured("dane"), x_b_test=assured("dane"))

    assert suggested(checker, use("a.test"), use("x.b.test"), world=world) == ()
    assert not checker.asked


@pytest.mark.parametrize(
    ("checker", "said"),
    [
        (Checker(), "nothing"),
        (Checker(a_test=assured("partner")), "nothing"),
        (Checker(a_test=Capability("a.test", assured=False, unknown=True)), "not known now"),
        (Checker(a_test=assured("dane"), detour="relayhost: [smart.test]"), "--nexthop"),
    ],
)
def test_who_cannot_is_told_with_the_reason(checker: Checker, said: str) -> None:
    """What keeps a domain from TLS is told, and there is no command."""
    (found,) = suggested(checker, use("a.test"))

    assert said in found.reason
    assert not found.command


def test_a_fault_concerns_its_domain_alone() -> None:
    """What is no domain, or a row that cannot be read, is told; the others get their advice."""
    world = World()
    found = suggested(Checker(a_test=assured("dane")), use("no domain"), use("a.test"), world=world)
    assert [bool(one.command) for one in found] == [True, False]
    world.faults["partner"] = StorageError("the row cannot be used")
    assert [one.reason for one in suggested(Checker(), use("a.test"), world=world)] == ["the row cannot be used"]


ROWS = [
    Partner("a.test", demand="encrypt", note="it's mine; rm -rf /"),
    Partner("a.test", ladder=("openpgp", "tls", "pickup")),
    Partner("a.test", ladder=("securedoc",), nexthop="[mx.a.test]:25"),
    Partner(".a.test", demand="tls", ladder=("pdf",), inbound="tls", inbound_action="quarantine", note="all"),
    Partner(".a.test"),
]


@pytest.mark.parametrize("row", ROWS)
def test_what_a_row_says_is_kept(row: Partner) -> None:
    """The command changes a domain's own row, or adds one that says what the covering row says."""
    world = World()
    world.partners[row.pattern] = row
    (found,) = suggested(Checker(a_test=assured("dane")), use("a.test"), world=world, ladder=("pickup",))
    words = shlex.split(found.text)
    assert tuple(words) == found.command
    options = dict(zip(words[4::2], words[5::2], strict=True))
    given = {name.removeprefix("--").replace("-", "_"): value for name, value in options.items()}

    assert words[:4] == ["gatepost", "partner", "set" if row.pattern == "a.test" else "add", "a.test"]
    assert given.pop("tls") == "dane"
    ladder = tuple(given.pop("ladder", ",".join(row.ladder)).split(","))
    assert tuple(one for one in ladder if one != "tls") == tuple(
        one for one in row.ladder or ("pickup",) if one != "tls"
    )
    assert ladder.count("tls") == 1
    if row.pattern == "a.test":
        assert not given
    else:
        made = read_partner({"pattern": "a.test"} | given)
        for column in ("demand", "nexthop", "inbound", "inbound_action", "note"):
            assert getattr(made, column) == getattr(row, column)


def test_the_options_are_the_command_lines() -> None:
    """Every option that may be written is one that `partner add` and `partner set` take."""
    for verb in ("add", "set"):
        shown = CliRunner().invoke(app, ["partner", verb, "--help"], env={"COLUMNS": "200"}).output
        for column in ("demand", "ladder", "tls", "nexthop", "inbound", "inbound-action", "note"):
            assert f"--{column} " in shown
