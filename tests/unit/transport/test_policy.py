"""The tables: what a capability says, put for the TLS route, ordinary mail and the milter; doubt defers."""

import asyncio
import json
from asyncio import Future

import pytest

from gatepost.transport.answer import Answer, Found, NotFound, TryAgain
from gatepost.transport.capability import Capability
from gatepost.transport.policy import sts, tables, tls, told

ASSURED = Capability("p.test", assured=True, by="dane", policy="dane-only", steps=("TLSA records",))
NOTHING = Capability("p.test", assured=False, steps=("no TLSA records", "no MTA-STS"))
UNKNOWN = Capability("p.test", assured=False, unknown=True, steps=("DNS does not answer",))
BROKEN_ROW = Capability("p.test", assured=False, by="partner", steps=("the rows disagree",))


class Assurance:
    """Gives capabilities by next hop."""

    def __init__(self, *known: Capability) -> None:
        self._known = {one.hop: one for one in known}
        self.asked: list[str] = []

    async def capability(self, hop: str) -> Capability:
        self.asked.append(hop)
        return self._known[hop]


class Reporting:
    """Tells attributes for every next hop."""

    def __init__(self, text: str = "policy_type=sts") -> None:
        self._text = text

    async def attributes(self, hop: str) -> str:
        assert hop == "p.test"
        return self._text


def ask(assurance: Assurance, table: str, key: str, reports: Reporting | None = None) -> Answer:
    async def scene() -> Answer:
        answer = tables(assurance, reports)[table](key)
        return await answer if isinstance(answer, Future) else answer

    return asyncio.run(scene())


def test_assured_is_kept_by_every_delivery() -> None:
    """What is assured is demanded of the TLS route and of ordinary mail alike."""
    assert tls(ASSURED) == sts(ASSURED) == Found("dane-only")


def test_tls_route_defers_what_is_not_assured() -> None:
    """The TLS route has no "not found": mail that was decided to need TLS waits, with the reason."""
    assert tls(NOTHING) == TryAgain("no TLSA records; no MTA-STS")
    assert tls(UNKNOWN) == TryAgain("DNS does not answer")
    assert tls(BROKEN_ROW) == TryAgain("the rows disagree")
    assert tls(Capability("p.test", assured=False)) == TryAgain("nothing assures TLS to p.test")


def test_ordinary_mail_goes_where_nothing_is_published() -> None:
    """Ordinary mail is left as it is where nobody asks for TLS."""
    assert sts(NOTHING) == NotFound()


def test_ordinary_mail_waits_in_doubt() -> None:
    """That a policy cannot be looked up, or kept, is not that there is none."""
    assert sts(UNKNOWN) == TryAgain("DNS does not answer")
    assert sts(BROKEN_ROW) == TryAgain("the rows disagree")
    assert isinstance(sts(Capability("p.test", assured=False, unknown=True)), TryAgain)


@pytest.mark.parametrize("capability", [ASSURED, NOTHING, UNKNOWN, BROKEN_ROW])
def test_milter_is_told_all(capability: Capability) -> None:
    """The milter gets the same capability, as JSON."""
    answer = told(capability)
    assert isinstance(answer, Found)
    assert json.loads(answer.text) == capability.as_json() | {"steps": list(capability.steps)}


def test_reasons_are_bounded() -> None:
    """Reasons without end do not make an answer that Postfix or the milter would not take."""
    chatty = Capability("p.test", assured=False, steps=("x" * 100,) * 10_000)
    for answer in (tls(chatty), sts(Capability("p.test", assured=False, unknown=True, steps=chatty.steps))):
        assert isinstance(answer, TryAgain)
        assert len(answer.reason) <= 4000
    answer = told(chatty)
    assert isinstance(answer, Found)
    assert len(answer.text) < 5000


def test_tables_ask_the_one_assurance() -> None:
    """Every table puts what the assurance says of the next hop, whatever its case."""
    hop = "[mx.p.test]:26"
    known = Capability(hop, assured=True, by="partner", policy="secure match=mx.p.test", steps=())
    assert ask(Assurance(known), "tls", "[MX.p.test]:26") == Found("secure match=mx.p.test")
    assert ask(Assurance(known), "sts", hop) == Found("secure match=mx.p.test")
    answer = ask(Assurance(known), "capability", hop)
    assert isinstance(answer, Found)
    assert json.loads(answer.text)["hop"] == hop


@pytest.mark.parametrize("key", [".p.test", ".", "x" * 301])
def test_no_next_hop(key: str) -> None:
    """A parent domain, which Postfix asks for after the domain, is not found at once; the TLS route defers."""
    assurance = Assurance()
    assert ask(assurance, "sts", key) == NotFound()
    assert isinstance(ask(assurance, "tls", key), TryAgain)
    assert isinstance(ask(assurance, "capability", key), TryAgain)
    assert assurance.asked == []


def test_reports_stand_behind_mta_sts_alone() -> None:
    """Postfix gets what its reports need with MTA-STS; with anything else, or for the milter, it is an error."""
    sts_line = Capability("p.test", assured=True, by="mta-sts", policy="secure match=mx.p.test")
    for table in ("tls", "sts"):
        found = ask(Assurance(sts_line), table, "p.test", Reporting())
        assert found == Found("secure match=mx.p.test policy_type=sts")
        assert ask(Assurance(sts_line), table, "p.test", Reporting("")) == Found("secure match=mx.p.test")
        assert ask(Assurance(sts_line), table, "p.test") == Found("secure match=mx.p.test")
        assert ask(Assurance(ASSURED), table, "p.test", Reporting()) == Found("dane-only")
    answer = ask(Assurance(sts_line), "capability", "p.test", Reporting())
    assert isinstance(answer, Found)
    assert json.loads(answer.text)["policy"] == "secure match=mx.p.test"
