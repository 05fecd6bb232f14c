"""Whether TLS to a next hop is assured, by what, and in which order."""

import asyncio
import json
from dataclasses import replace

import pytest

from gatepost.directory.partner import Partner
from gatepost.errors import StorageError
from gatepost.message.address import Address
from gatepost.transport.assurance import Assurance
from gatepost.transport.capability import Capability, Discovery, Method

NO = Method(assured=False, steps=("nothing published",))
UNKNOWN = Method(assured=False, unknown=True, steps=("SERVFAIL",))
DANE = Method(assured=True, policy="dane-only", steps=("TLSA at every host",))
STS_LINE = "secure match=mx1.p.test:mx2.p.test servername=hostname"
STS = Method(assured=True, policy=STS_LINE, steps=("mode enforce",))
FINGERPRINT = "fingerprint:" + "ab" * 32


class Rows:
    """Partner rows of one next hop."""

    def __init__(self, *rows: Partner, broken: bool = False) -> None:
        self._rows, self._broken = rows, broken

    def find(self, address: Address) -> Partner | None:
        raise NotImplementedError

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        assert nexthop == "p.test"
        if self._broken:
            raise StorageError("down")
        return self._rows


class Found:
    """What DNS and the web say; counts how often it was asked."""

    def __init__(self, dane: Method, sts: Method) -> None:
        self._found = Discovery("p.test", ("mx1.p.test",), dane, sts, ("MX: mx1.p.test",), 600)
        self.asked = 0

    async def discover(self, hop: str) -> Discovery:
        assert hop == "p.test"
        self.asked += 1
        return self._found


def ask(*rows: Partner, dane: Method = NO, sts: Method = NO, broken: bool = False) -> Capability:
    assurance = Assurance(Rows(*rows, broken=broken), Found(dane, sts))
    answer = asyncio.run(assurance.capability("p.test"))
    assert not (answer.assured and answer.unknown)
    assert bool(answer.policy) == answer.assured
    assert bool(answer.by) == (answer.assured or (any(row.tls for row in rows) and not broken))
    assert answer.steps
    assert json.loads(json.dumps(answer.as_json()))["hop"] == "p.test"
    return answer


@pytest.mark.parametrize(
    ("dane", "sts", "expected"),
    [
        (DANE, STS, "dane"),
        (DANE, NO, "dane"),
        (DANE, UNKNOWN, "dane"),
        (NO, STS, "mta-sts"),
        (NO, NO, ""),
        (NO, UNKNOWN, "unknown"),
        (UNKNOWN, NO, "unknown"),
        (UNKNOWN, STS, "unknown"),
        (UNKNOWN, UNKNOWN, "unknown"),
    ],
)
def test_dane_before_mta_sts(dane: Method, sts: Method, expected: str) -> None:
    """DANE first; MTA-STS never overrides a DANE that is in doubt (RFC 8461 section 2)."""
    answer = ask(dane=dane, sts=sts)
    assert answer.by == (expected if expected in {"dane", "mta-sts"} else "")
    assert answer.unknown == (expected == "unknown")
    assert answer.policy == {"dane": "dane-only", "mta-sts": STS_LINE}.get(expected, "")
    assert answer.steps[:2] == ("MX: mx1.p.test", *dane.steps)


def test_rows_of_other_matters() -> None:
    """A row without `tls` says nothing about TLS."""
    assert ask(Partner("p.test", demand="tls"), dane=DANE).by == "dane"


@pytest.mark.parametrize(
    ("row", "policy"),
    [
        (Partner("p.test", tls="verify"), "secure match=nexthop:dot-nexthop servername=hostname"),
        (
            Partner("p.test", tls="verify", tls_name="mx.p.test", tls_ca="/ca.pem"),
            "secure match=mx.p.test servername=hostname tafile=/ca.pem",
        ),
        (Partner("p.test", tls=FINGERPRINT), "fingerprint match=" + ":".join(["AB"] * 32)),
    ],
)
def test_a_row_comes_first(row: Partner, policy: str) -> None:
    """A row's own policy is what is demanded, whatever is published; DNS is not even asked."""
    found = Found(UNKNOWN, UNKNOWN)
    answer = asyncio.run(Assurance(Rows(row), found).capability("p.test"))
    assert (answer.by, answer.policy) == ("partner", policy)
    assert found.asked == 0
    assert answer.steps == (f"the partner row p.test demands: {policy}",)


@pytest.mark.parametrize(
    ("tls", "dane", "sts", "policy", "unknown"),
    [
        ("dane", DANE, STS, "dane-only", False),
        ("dane", NO, STS, "", False),
        ("dane", UNKNOWN, STS, "", True),
        ("mta-sts", NO, STS, STS_LINE, False),
        ("mta-sts", DANE, STS, STS_LINE, False),
        ("mta-sts", DANE, NO, "", False),
        ("mta-sts", NO, UNKNOWN, "", True),
        ("mta-sts", UNKNOWN, STS, "", True),
        ("mta-sts", UNKNOWN, NO, "", False),
    ],
)
def test_rows_that_demand_one_method(tls: str, dane: Method, sts: Method, policy: str, unknown: bool) -> None:
    """`dane` and `mta-sts` demand just that method, and another does not stand in for it."""
    answer = ask(Partner("p.test", tls=tls), dane=dane, sts=sts)
    assert (answer.policy, answer.unknown) == (policy, unknown)
    assert answer.by == "partner"
    outcome = "assured" if policy else "not known now" if unknown else "not assured"
    demand = {"dane": "DANE", "mta-sts": "MTA-STS"}[tls]
    assert answer.steps[-1] == f"the partner row p.test demands {demand}: {outcome}"


def test_rows_that_share_a_next_hop() -> None:
    """All rows must hold: what they have in common is demanded, and the steps name them."""
    rows = (
        Partner("a.test", tls="verify", tls_name="mx1.p.test", nexthop="p.test"),
        Partner("b.test", tls="mta-sts", nexthop="p.test"),
        Partner("c.test", nexthop="p.test"),
    )
    answer = ask(*rows, sts=STS)
    assert answer.policy == "secure match=mx1.p.test servername=hostname"
    assert "the partner rows a.test, b.test together demand" in answer.steps[-1]


@pytest.mark.parametrize(
    "other",
    [
        Partner("b.test", tls="verify", tls_name="mx2.p.test"),
        Partner("b.test", tls="verify", tls_name="mx1.p.test", tls_ca="/ca.pem"),
        Partner("b.test", tls=FINGERPRINT),
        Partner("b.test", tls="dane"),
    ],
)
def test_rows_that_no_line_keeps(other: Partner) -> None:
    """Rows whose demands no single line keeps assure nothing, for good: another rung is taken, no mail waits."""
    answer = ask(Partner("a.test", tls="verify", tls_name="mx1.p.test"), other, dane=DANE)
    assert (answer.assured, answer.unknown) == (False, False)
    assert "a.test, b.test" in answer.steps[-1]


def test_a_line_that_cannot_be_read_joins_with_nothing() -> None:
    """Where one line holds what is not known here, the others do not stand for it."""
    odd = replace(STS, policy=f"{STS_LINE} protocols=TLSv1.3")
    rows = (Partner("a.test", tls="verify", tls_name="mx1.p.test"), Partner("b.test", tls="mta-sts"))
    answer = ask(*rows, sts=odd)
    assert (answer.assured, answer.unknown) == (False, False)
    assert ask(rows[1], sts=odd).policy == odd.policy


def test_a_row_that_cannot_hold_decides() -> None:
    """Where one row cannot be kept for good, waiting for the others would help nobody."""
    answer = ask(Partner("a.test", tls="dane"), Partner("b.test", tls="mta-sts"), dane=UNKNOWN, sts=NO)
    assert (answer.assured, answer.unknown) == (False, False)


def test_a_row_in_doubt() -> None:
    """Where one row cannot be judged now and the others hold, a later try may do."""
    answer = ask(Partner("a.test", tls="verify"), Partner("b.test", tls="dane"), dane=UNKNOWN)
    assert answer.unknown


def test_a_row_that_no_line_expresses() -> None:
    """A row that a line could not carry exactly assures nothing, and is named."""
    answer = ask(Partner("a.test", tls="verify", tls_name="hostname"), dane=DANE)
    assert (answer.assured, answer.unknown) == (False, False)
    assert answer.steps == ("the partner row a.test holds a tls_name that is no host name",)


def test_without_the_partner_table_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A row may demand more than DNS assures: while the table cannot be read, nothing is assured."""
    answer = ask(dane=DANE, sts=STS, broken=True)
    assert answer.unknown
    assert "the partner table cannot be read" in capsys.readouterr().err


def test_what_is_published_is_not_overstated() -> None:
    """A method that is not assured gives no policy, whatever text it carries."""
    answer = ask(dane=replace(NO, policy="dane-only"), sts=replace(NO, policy=STS_LINE))
    assert not answer.policy


@pytest.mark.parametrize(
    ("spelled", "asked"),
    [
        ("P.Test", "p.test"),
        ("p.test.", "p.test"),
        ("p.test:25", "p.test:25"),
        ("[MX.P.test]:2525", "[mx.p.test]:2525"),
        ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("[bücher.test]:25", "[xn--bcher-kva.test]:25"),
    ],
)
def test_spelling_does_not_matter(spelled: str, asked: str) -> None:
    """Rows and cache are asked for one spelling of a next hop; a row in A-labels counts for U-labels."""
    seen = []

    class Noted(Rows):
        def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
            seen.append(nexthop)
            return (Partner("p.test", tls="verify"),)

    answer = asyncio.run(Assurance(Noted(), Found(NO, NO)).capability(spelled))
    assert seen == [answer.hop] == [asked]
    assert answer.assured


@pytest.mark.parametrize("hop", ["", "a b", "p.test:0", "[", "p..test", "-"])
def test_what_is_no_next_hop(hop: str) -> None:
    """What is no next hop is assured by nothing, and no table is asked."""
    answer = asyncio.run(Assurance(Rows(broken=True), Found(DANE, STS)).capability(hop))
    assert (answer.assured, answer.unknown, answer.hop) == (False, False, hop)
    assert answer.steps
