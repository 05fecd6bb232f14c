"""What an admin is told of TLS to a domain: everything, in order, and no other answer than the daemons give."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from gatepost.directory.partner import Partner
from gatepost.errors import AddressError, RouteError, StorageError
from gatepost.message.address import Address
from gatepost.transport.capability import Discovery, Method
from gatepost.transport.kept_discoveries import OnlyKept
from gatepost.transport.tls_check import Checked, Detours, TlsCheck

NO = Method(assured=False, steps=("DANE: none",))
DANE = Method(assured=True, policy="dane-only", steps=("DANE: usable",))
STS = Method(assured=False, steps=("MTA-STS: none",))


class Rows:
    """A partner table of one row, or one that cannot be read."""

    def __init__(self, row: Partner | None = None, *, broken: bool = False) -> None:
        self._row, self._broken = row, broken
        self.asked: list[str] = []

    def find(self, address: Address) -> Partner | None:
        if self._broken:
            raise StorageError("down")
        assert not address.local
        return self._row if self._row and self._row.pattern == address.domain else None

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        if self._broken:
            raise StorageError("down")
        self.asked.append(nexthop)
        return (self._row,) if self._row and nexthop in {self._row.pattern, self._row.nexthop} else ()


class Found:
    """One discovery for whatever is asked."""

    def __init__(self, dane: Method = NO, hosts: tuple[str, ...] = ("mx.p.test",)) -> None:
        self._dane, self._hosts = dane, hosts
        self.asked: list[str] = []

    async def discover(self, hop: str) -> Discovery:
        self.asked.append(hop)
        return Discovery(hop, self._hosts, self._dane, STS, ("MX: mx.p.test",), 60)


class Offers:
    """Tells what hosts offer."""

    async def probe(self, hosts: Sequence[str], port: int) -> tuple[str, ...]:
        return tuple(f"{host}:{port} offers STARTTLS" for host in hosts)


def straight(address: Address) -> str:
    del address
    return ""


def check(domain: str, rows: Rows, found: Found, detours: Detours = straight) -> Checked:
    return asyncio.run(TlsCheck(rows, found, detours, Offers()).check(domain))


def by_relayhost(address: Address) -> str:
    assert address.domain == "p.test"
    return "relayhost: [smart.test]"


def unreadable(address: Address) -> str:
    raise RouteError(f"main.cf cannot be read for {address.domain}")


def test_a_detour_is_told() -> None:
    """What Postfix sends elsewhere goes over no assured TLS: the first step says so, and the capability stays."""
    found = check("p.test", Rows(), Found(DANE), by_relayhost)
    assert found.detour == "relayhost: [smart.test]"
    assert "relayhost: [smart.test]" in found.steps[0]
    assert found.capability.assured
    assert "main.cf" in check("p.test", Rows(), Found(DANE), unreadable).steps[0]


def test_a_row_with_a_next_hop_takes_no_detour() -> None:
    """A row's own next hop, and a host in brackets, go past Postfix's routing: it is not asked."""
    row = Partner("p.test", tls="verify", nexthop="[relay.test]")
    assert check("p.test", Rows(row), Found(), unreadable).detour == ""
    assert check("[p.test]", Rows(), Found(), unreadable).detour == ""


def test_every_step_is_told() -> None:
    """MX, DANE and MTA-STS are told even where the first of them assures, then what the hosts offer."""
    found = check("P.test", Rows(), Found(DANE))
    assert found.domain == "p.test"
    assert found.steps == (
        "MX: mx.p.test", "DANE: usable", "MTA-STS: none", "mx.p.test:25 offers STARTTLS",
    )  # fmt: skip
    assert found.offers == found.steps[-1:]
    assert (found.capability.assured, found.capability.by) == (True, "dane")


def test_a_row_is_told_beside_what_is_published() -> None:
    """A partner row decides, and what DNS says is told all the same; it is looked up once."""
    known = Found(DANE)
    found = check("p.test", Rows(Partner("p.test", tls="verify", tls_name="mx.p.test")), known)
    assert found.capability.by == "partner"
    assert found.steps[:3] == ("MX: mx.p.test", "DANE: usable", "MTA-STS: none")
    assert "the partner row p.test demands: secure match=mx.p.test" in found.steps[3]
    assert known.asked == ["p.test"]


def test_the_next_hop_that_mail_takes() -> None:
    """Where a row sends a domain's mail elsewhere, that next hop is checked, at its port."""
    rows, known = Rows(Partner("p.test", tls="verify", nexthop="[relay.test]:587")), Found()
    found = check("p.test", rows, known)
    assert known.asked == rows.asked == ["[relay.test]:587"]
    assert found.domain == "p.test"
    assert found.steps[0] == "the partner row p.test sends its mail to [relay.test]:587"
    assert found.offers == ("mx.p.test:587 offers STARTTLS",)


def test_without_mail_hosts_nothing_is_probed() -> None:
    """Who takes no mail is not knocked at."""
    assert check("p.test", Rows(), Found(hosts=())).offers == ()


def test_without_the_partner_table() -> None:
    """A table that cannot be read leaves the answer unknown; what was found is told."""
    found = check("p.test", Rows(broken=True), Found(DANE))
    assert found.capability.unknown
    assert found.steps[0] == "MX: mx.p.test"
    assert "the partner table cannot be read now" in found.steps


@pytest.mark.parametrize(
    "domain", ["", "a b", "p..test", "user@p.test", "p.test:x", "-x.test", "☃\n.test", "1.2.3.4"]
)
def test_what_is_no_domain(domain: str) -> None:
    """A name that is none is an error that shows it."""
    with pytest.raises(AddressError):
        check(domain, Rows(), Found())


def test_without_probes() -> None:
    """Where nobody knocks, nothing is offered."""
    assert asyncio.run(TlsCheck(Rows(), Found(), straight, None).check("p.test")).offers == ()


class Kept:
    """Keeps one discovery."""

    def find(self, hop: str, now: datetime) -> Discovery | None:
        assert now.tzinfo is UTC
        return Discovery(hop, (), DANE, STS, ("MX",), 60) if hop == "p.test" else None

    def keep(self, found: Discovery, now: datetime) -> None:
        raise NotImplementedError


def test_what_is_kept_for_the_daemons() -> None:
    """Without any look-up: what is kept counts, what is not kept is unknown, and that is told."""
    kept = OnlyKept(Kept())
    assert asyncio.run(TlsCheck(Rows(), kept, straight, None).check("p.test")).capability.assured
    other = asyncio.run(TlsCheck(Rows(), kept, straight, None).check("other.test"))
    assert other.capability.unknown
    assert "nothing is kept of other.test now" in other.steps[0]
