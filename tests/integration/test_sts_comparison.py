"""
What our map `sts` answers beside postfix-mta-sts-resolver, over the same DNS and the same policy hosts.

Ours must be the same or stricter. Where it is not, docs/tls.md tells the clause of RFC 8461 that wants it so; both
kinds of difference are pinned here, so that none comes or goes unseen.
"""

import asyncio
import re
from asyncio import Future
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from lab.certificate import Authority
from lab.mta_sts_daemon import http_library, resolver_class
from lab.nameserver import NameServer, response
from lab.policy_host import PolicyHost, put_site
from postfix_mta_sts_resolver import resolver, responder, utils

from gatepost.directory.partner import Partner
from gatepost.message.address import Address
from gatepost.transport import target
from gatepost.transport.answer import Answer, Found, NotFound
from gatepost.transport.assurance import Assurance
from gatepost.transport.discovery import Discoverer
from gatepost.transport.dns import StubResolver
from gatepost.transport.https import Https
from gatepost.transport.kept_policies import KeptPolicy
from gatepost.transport.look_ups import NetworkLookUps
from gatepost.transport.policy import tables
from gatepost.transport.sts_policy import StsPolicies

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore:query:DeprecationWarning")]

SECONDS = 20.0
POLICY = "version: STSv1\nmode: enforce\nmx: mx.p.test\nmax_age: 604800\n"
RECORD = "v=STSv1; id=1;"
TLSA = "3 1 1 " + "ab" * 32
NAMED = "secure match=mx.p.test servername=hostname"
NONE, WAITS = "not found", "waits"


@dataclass(frozen=True)
class Case:
    """One world, what each says in it, and why they differ: empty, `stricter`, or the clause that wants it so."""

    name: str
    ours: str
    theirs: str
    differs: str = ""
    key: str = "p.test"
    records: tuple[str, ...] = (RECORD,)
    policy: str = POLICY
    how: str = "answers"
    certificate: str = "good"
    mx: tuple[str, ...] = ("mx.p.test",)
    tlsa: str = ""
    fails: tuple[str, ...] = ()


CASES = [
    Case("nothing is published", NONE, NONE, records=()),
    Case("enforce", NAMED, NAMED),
    Case("enforce, in capitals", NAMED, NAMED, key="P.Test"),
    Case("lines end with CR LF", NAMED, NAMED, policy=POLICY.replace("\n", "\r\n")),
    Case("fields that nobody knows", NAMED, NAMED, policy=POLICY + "extra: what it says\n"),
    Case("testing", NONE, NONE, policy=POLICY.replace("enforce", "testing")),
    Case("none", NONE, NONE, policy=POLICY.replace("enforce", "none")),
    Case("a parent domain", NONE, NONE, key=".p.test"),
    Case("an address in brackets", NONE, NONE, key="[192.0.2.1]"),
    Case("two records", NONE, NONE, records=(RECORD, "v=STSv1; id=2;")),
    Case("a record of something else beside it", NAMED, NAMED, records=("some other text", RECORD)),
    Case("a record without id", NONE, NONE, records=("v=STSv1;",)),
    Case("no version", NONE, NONE, policy=POLICY.replace("version: STSv1\n", "")),
    Case("no max_age", NONE, NONE, policy=POLICY.replace("max_age: 604800\n", "")),
    Case("no mx", NONE, NONE, policy=POLICY.replace("mx: mx.p.test\n", "")),
    Case("another mode", NONE, NONE, policy=POLICY.replace("enforce", "enforced")),
    Case("a redirect", NONE, NONE, how="redirects"),
    Case("no such file", NONE, NONE, how="missing"),
    Case("an error of the host", NONE, NONE, how="broken"),
    Case("HTML", NONE, NONE, how="html"),
    Case("200 KB", NONE, NONE, how="long"),
    Case("a certificate for another name", NONE, NONE, certificate="other"),
    Case("an expired certificate", NONE, NONE, certificate="expired"),
    Case("a self-signed certificate", NONE, NONE, certificate="stranger"),
    Case(
        "a pattern",
        NAMED,
        "secure match=.p.test servername=hostname",
        "stricter",
        policy=POLICY.replace("mx.p", "*.p"),
    ),
    Case(
        "a mail host that the policy does not name",
        NAMED,
        NAMED,
        mx=("mx.p.test", "mx.q.test"),
    ),
    Case("no mail host that the policy names", WAITS, NAMED, "stricter", mx=("mx.q.test",)),
    Case("an id of more than 32 letters", NONE, NAMED, "section 3.1", records=(f"v=STSv1; id={'1' * 33};",)),
    Case("an id of other letters", NONE, NAMED, "section 3.1", records=("v=STSv1; id=a-b;",)),
    Case("no semicolon behind the version", NONE, NONE, records=("v=STSv1 id=1",)),
    Case("a max_age above a year", NONE, NONE, policy=POLICY.replace("604800", "31557601")),
    Case("a line that is no field", NONE, NAMED, "section 3.2", policy=POLICY + "what is this\n"),
    Case(
        "an mx that is no name",
        NONE,
        "secure match=mx p.test servername=hostname",
        "section 3.2",
        policy=POLICY.replace("mx.p.test", "mx p.test"),
    ),
    Case("DNS fails", WAITS, NONE, "stricter", fails=("TXT _mta-sts.p.test",)),
    Case("MX fails", WAITS, NAMED, "stricter", fails=("MX p.test",)),
    Case("DANE too", "dane-only", NAMED, "stricter", tlsa=TLSA),
    Case("DANE fails", WAITS, NAMED, "stricter", tlsa=TLSA, fails=("TLSA _25._tcp.mx.p.test",)),
    Case("a host in brackets", NONE, NAMED, "section 3", key="[p.test]"),
    Case("a domain with a port", NAMED, NAMED, key="p.test:587"),
    Case("no mail at all", NONE, NAMED, "RFC 7505", mx=("",)),
]


@dataclass
class World:
    """DNS and a policy host on loopback, both services on top of them."""

    folder: Path
    authority: Authority
    host: PolicyHost
    dns_port: int = 0
    case: Case = field(default_factory=lambda: CASES[0])

    def answer(self, query: dns.message.Message, by_tcp: bool) -> bytes:
        """Answer as the case says; everything is vouched for, and what does not exist is an empty answer."""
        del by_tcp
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        if f"{kind} {name}" in self.case.fails:
            return response(query, rcode=dns.rcode.SERVFAIL).to_wire()
        known = {
            "TXT _mta-sts.p.test": [f'"{record}"' for record in self.case.records],
            "MX p.test": [f"10 {host}." for host in self.case.mx],
            "TLSA _25._tcp.mx.p.test": [self.case.tlsa] if self.case.tlsa else [],
            "A mta-sts.p.test": ["127.0.0.1"],
            **{f"A {host}": ["192.0.2.1"] for host in self.case.mx},
        }
        # No time to live: their resolver library keeps answers of its own.
        records = [f"{name}. 0 IN {kind} {data}" for data in known.get(f"{kind} {name}", [])]
        return response(query, *records, vouched=True).to_wire()

    def put(self, case: Case) -> None:
        """Let the world be as the case says."""
        self.case = case
        names = ("mta-sts.q.test",) if case.certificate == "other" else ("mta-sts.p.test",)
        authority = self.authority
        if case.certificate == "stranger":
            authority = Authority(self.folder / "stranger", "Stranger CA")
        certificate = authority.issue(*names, expired=case.certificate == "expired")
        put_site(self.host.file, "mta-sts.p.test", certificate, case.how, case.policy)


class Kept:
    """Keeps policies in memory."""

    def __init__(self) -> None:
        self._policies: dict[str, KeptPolicy] = {}

    def get(self, domain: str) -> KeptPolicy | None:
        return self._policies.get(domain)

    def put(self, policy: KeptPolicy) -> None:
        self._policies[policy.domain] = policy


class NoPartners:
    """Has no partner rows."""

    def find(self, address: Address) -> Partner | None:
        raise NotImplementedError

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        assert "." in nexthop
        return ()


class Ours:
    """Our map `sts`; policies are kept from one question to the next, and nothing else."""

    def __init__(self, world: World, dns_port: int) -> None:
        self._kept = Kept()
        self._resolver = StubResolver([f"127.0.0.1#{dns_port}"], SECONDS)
        self._web = Https(str(world.authority.file), port=world.host.port)

    async def ask(self, key: str) -> str:
        policies = StsPolicies(
            self._resolver,
            self._web,
            self._kept,
            partial(target.reachable, allow_private=True),
            seconds=SECONDS,
        )
        discoverer = Discoverer(NetworkLookUps(self._resolver, policies), timeout=SECONDS)
        table = tables(Assurance(NoPartners(), discoverer))["sts"]
        answer = table(key)
        return told(await answer if isinstance(answer, Future) else answer)

    def close(self) -> None:
        self._web.close()


def told(answer: Answer) -> str:
    match answer:
        case Found(text):
            return text
        case NotFound():
            return NONE
        case _:
            return WAITS


class Theirs:
    """Their responder with its memory cache, asking DNS each time."""

    def __init__(self) -> None:
        settings = utils.populate_cfg_defaults({"path": "/nonexistent", "default_zone": {"timeout": SECONDS}})
        settings["cache_grace"] = 0
        cache = utils.create_cache("internal", settings["cache"]["options"])
        self._responder = responder.STSSocketmapResponder(settings, asyncio.get_running_loop(), cache)

    async def ask(self, key: str) -> str:
        reply = (await self._responder.process_request(f"test {key}".encode())).decode()
        found = re.fullmatch(r"\d+:(OK|NOTFOUND|TEMP) (.*),", reply)
        assert found, reply
        return {"OK": found[2], "NOTFOUND": NONE, "TEMP": WAITS}[found[1]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Give a world in which both services live; their classes ask this DNS and this policy host."""
    authority = Authority(tmp_path / "ca")
    with PolicyHost(tmp_path / "sites.json") as host:
        world = World(tmp_path, authority, host)
        with NameServer(world.answer) as server:
            world.dns_port = server.port
            monkeypatch.setattr(responder, "STSResolver", resolver_class(server.port))
            monkeypatch.setattr(resolver, "aiohttp", http_library(host.port, str(authority.file)))
            yield world


def both(world: World, *cases: Case) -> list[tuple[str, str]]:
    """Ask both in each of these worlds, one after the other; what they keep stays with them."""

    async def scene() -> list[tuple[str, str]]:
        ours, theirs = Ours(world, world.dns_port), Theirs()
        answers = []
        for case in cases:
            world.put(case)
            answers.append((await ours.ask(case.key), await theirs.ask(case.key)))
        ours.close()
        return answers

    return asyncio.run(scene())


def stricter(ours: str, theirs: str) -> bool:
    """Tell whether ours lets through no more than theirs does."""
    if theirs == NONE or ours == WAITS:
        return True
    if theirs == WAITS or ours == NONE:
        return False
    if ours == "dane-only":
        return True
    return all(any(covers(wide, name) for wide in names(theirs)) for name in names(ours))


def names(line: str) -> list[str]:
    return line.partition("match=")[2].partition(" ")[0].split(":")


def covers(wide: str, name: str) -> bool:
    return wide == name or (wide.startswith(".") and name.endswith(wide))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_or_stricter(world: World, case: Case) -> None:
    """Each says what is pinned here, and ours lets through no more unless a clause says so."""
    assert both(world, case) == [(case.ours, case.theirs)]
    assert stricter(case.ours, case.theirs) == (case.differs in {"", "stricter"})
    assert (case.ours != case.theirs) == bool(case.differs)


ENFORCED = Case("", NAMED, NAMED)
AFTERWARDS = [
    Case("the policy host fails", NAMED, NAMED, records=("v=STSv1; id=2;",), how="broken"),
    Case("its certificate is wrong", NAMED, NAMED, records=("v=STSv1; id=2;",), certificate="expired"),
    Case("DNS fails", NAMED, NAMED, fails=("TXT _mta-sts.p.test",)),
    Case("the record is gone", NAMED, NAMED, records=()),
    Case("the policy breaks", NAMED, NAMED, records=("v=STSv1; id=2;",), policy="nonsense"),
    Case("mode none, the same id", NAMED, NAMED, policy=POLICY.replace("enforce", "none")),
    Case("mode none, a new id", NONE, NONE, records=("v=STSv1; id=2;",), policy=POLICY.replace("enforce", "none")),
    Case("other mail hosts", WAITS, NAMED, "stricter", mx=("mx.q.test",)),
]


@pytest.mark.parametrize("case", AFTERWARDS, ids=lambda case: case.name)
def test_policy_that_was_kept(world: World, case: Case) -> None:
    """A policy that was fetched once is not given up because what follows is broken; ours is as strict."""
    assert both(world, ENFORCED, case) == [(NAMED, NAMED), (case.ours, case.theirs)]
    assert stricter(case.ours, case.theirs)
