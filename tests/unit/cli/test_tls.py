"""`gatepost tls check` asks the site's resolver, tells every step, and keeps nothing."""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from lab.nameserver import NameServer, response
from tests.fakes import FakeRecord
from typer.testing import CliRunner, Result

from gatepost.app.store import open_database, partner_table
from gatepost.cli.main import app
from gatepost.db.discoveries import SqlDiscoveries
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.directory.partner import Partner
from gatepost.errors import AddressError
from gatepost.message.address import Address
from gatepost.settings import read
from gatepost.transport.capability import Discovery, Method
from gatepost.transport.resolver import IpAddress

TLSA = "3 1 1 " + hashlib.sha256(b"key").hexdigest()
SIGNED = {
    ("signed.test", "MX"): "10 mx.signed.test.",
    ("mx.signed.test", "A"): "192.0.2.1",
    ("_25._tcp.mx.signed.test", "TLSA"): TLSA,
    ("xn--bcher-kva.test", "MX"): "10 mx.signed.test.",
}
PLAIN = {("plain.test", "MX"): "10 mx.plain.test.", ("mx.plain.test", "A"): "192.0.2.2"}


def answer(query: dns.message.Message, by_tcp: bool) -> bytes:
    del by_tcp
    name, kind = query.question[0].name.to_text(omit_final_dot=True), query.question[0].rdtype.name
    if name.endswith("broken.test"):
        return response(query, rcode=dns.rcode.SERVFAIL).to_wire()
    found = SIGNED.get((name, kind)) or PLAIN.get((name, kind))
    known = {one for one, _ in (*SIGNED, *PLAIN)}
    return response(
        query,
        *([f"{name}. 300 IN {kind} {found}"] if found else []),
        authority=() if found else ("test. 300 IN SOA ns.test. admin.test. 1 1 1 1 300",),
        rcode=dns.rcode.NOERROR if name in known else dns.rcode.NXDOMAIN,
        vouched=(name, kind) not in PLAIN,
    ).to_wire()


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(answer) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a site that asks the test's own resolver, and whose Postfix routes one domain elsewhere."""

    def detour(question: tuple[Address, Address]) -> str:
        return "relayhost: [smart.test]" if question[1].domain == "xn--bcher-kva.test" else ""

    monkeypatch.setattr("gatepost.app.transport.PostfixRoutes", lambda _directory: detour)
    invoke("init", str(tmp_path / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
    path = tmp_path / "site" / "gatepost.toml"
    path.write_text(path.read_text() + f'\n[dns]\nresolvers = ["{server.name}"]\ntimeout = 30.0\n')
    return str(path)


def check(config: str, domain: str, *more: str) -> dict[str, object]:
    outcome = invoke("-c", config, "tls", "check", domain, "--json", *more)
    assert outcome.exit_code == 0
    found = json.loads(outcome.stdout)
    assert isinstance(found, dict)
    return found


def test_dane(config: str) -> None:
    """A domain whose mail host has TLSA records under a validated chain is assured by DANE."""
    found = check(config, "Signed.Test")
    assert {name: found[name] for name in ("domain", "hop", "assured", "unknown", "by", "policy", "hosts")} == {
        "domain": "signed.test",
        "hop": "signed.test",
        "assured": True,
        "unknown": False,
        "by": "dane",
        "policy": "dane-only",
        "hosts": ["mx.signed.test"],
    }
    told = "\n".join(map(str, found["steps"]))  # type: ignore[call-overload]
    for text in ("MX records of signed.test", "TLSA", "MTA-STS"):
        assert text in told


def test_idn(config: str, server: NameServer) -> None:
    """A name with other letters is asked for, and shown, as A-labels."""
    assert check(config, "Bücher.test")["domain"] == "xn--bcher-kva.test"
    assert "MX xn--bcher-kva.test" in server.asked


@pytest.mark.parametrize(
    ("domain", "unknown"), [("plain.test", False), ("nowhere.test", False), ("broken.test", True)]
)
def test_what_is_not_assured(config: str, domain: str, unknown: bool) -> None:
    """What publishes nothing is not assured; what the resolver cannot tell is unknown; exit status 0."""
    found = check(config, domain)
    assert (found["assured"], found["unknown"], found["by"], found["policy"]) == (False, unknown, "", "")
    assert found["steps"]


class Web:
    """Serves one MTA-STS policy, from whatever address it is asked for."""

    def __init__(self, ca_file: str) -> None:
        assert not ca_file

    async def get(
        self, host: str, path: str, addresses: Sequence[IpAddress], *, seconds: float, most: int
    ) -> bytes:
        assert (host, path) == ("mta-sts.plain.test", "/.well-known/mta-sts.txt")
        assert list(map(str, addresses)) == ["9.9.9.9"]
        assert seconds <= 60 <= most
        return b"version: STSv1\r\nmode: enforce\r\nmx: *.plain.test\r\nmax_age: 86400\r\n"


def test_mta_sts(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A domain that publishes a policy in enforce for its mail hosts is assured by MTA-STS."""
    monkeypatch.setitem(PLAIN, ("_mta-sts.plain.test", "TXT"), '"v=STSv1; id=1;"')
    monkeypatch.setitem(PLAIN, ("mta-sts.plain.test", "A"), "9.9.9.9")
    monkeypatch.setattr("gatepost.app.transport.Https", Web)
    found = check(config, "plain.test")
    assert (found["by"], found["policy"]) == ("mta-sts", "secure match=mx.plain.test servername=hostname")


def test_hosts_are_knocked_at_where_that_is_allowed(config: str) -> None:
    """What a host offers is told last; an address that is not public is told and not connected to."""
    found = check(config, "signed.test")
    (offer,) = found["offers"]  # type: ignore[misc]
    assert offer == found["steps"][-1]  # type: ignore[index]
    assert offer.startswith("mx.signed.test: the host is not connected to: 192.0.2.1")


def test_partner_row(config: str) -> None:
    """A partner row decides; what is published is told beside it."""
    partner_table(read(Path(config))).add(Partner("plain.test", tls="verify", tls_name="mx.plain.test"))
    found = check(config, "plain.test")
    assert (found["by"], found["policy"]) == ("partner", "secure match=mx.plain.test servername=hostname")


def test_text(config: str) -> None:
    """People read the answer first, then what Postfix is told, then every step."""
    lines = invoke("-c", config, "tls", "check", "signed.test").stdout.splitlines()
    assert lines[:2] == ["TLS to signed.test is assured by DANE", "  Postfix is told: dane-only"]
    assert all(line.startswith("  - ") for line in lines[2:5])
    assert "is not assured" in invoke("-c", config, "tls", "check", "plain.test").stdout
    assert "not known now" in invoke("-c", config, "tls", "check", "broken.test").stdout


def test_detour(config: str) -> None:
    """Where Postfix sends the mail elsewhere, that is told beside what could be."""
    assert check(config, "bücher.test")["detour"] == "relayhost: [smart.test]"
    lines = invoke("-c", config, "tls", "check", "bücher.test").stdout.splitlines()
    assert lines[2] == "  Yet none of its mail goes that way: see below"


def test_cached(config: str, server: NameServer) -> None:
    """With --cached nothing is asked: what is kept for the daemons is told, or that nothing is."""
    kept = Discovery(
        "kept.test", ("mx.kept.test",), Method(True, "dane-only"), Method(False), ("looked up before",), 600
    )
    SqlDiscoveries(open_database(read(Path(config)))).keep(kept, datetime.now(UTC))

    assert check(config, "kept.test", "--cached")["by"] == "dane"
    assert "looked up before" in str(check(config, "kept.test", "--cached")["steps"])
    assert check(config, "signed.test", "--cached")["unknown"] is True
    assert server.asked == []


def test_nothing_is_kept_by_a_check(config: str) -> None:
    """A check tells and leaves the cache alone, in both directions."""
    assert check(config, "signed.test")["assured"] is True
    assert check(config, "signed.test", "--cached")["unknown"] is True


@pytest.mark.parametrize("domain", ["a b", "user@p.test", "p..test", ""])
def test_wrong_name(config: str, domain: str) -> None:
    """What is no domain is an error that shows it."""
    with pytest.raises(AddressError, match=f"^'{re.escape(domain)}' "):
        invoke("-c", config, "tls", "check", domain)


def suggest(config: str, *more: str) -> Result:
    """Ask for suggestions where six messages were held for each of these domains, and one for plain.test."""
    database = open_database(read(Path(config)))
    writer = Writer(database, "gw")
    domains = ("signed.test",) * 6 + ("broken.test",) * 6 + ("plain.test",)
    held = {"direction": "out", "demand": "encrypt", "treatment": "quarantine"}
    writer.post(FakeRecord(*(Event(at=time.time(), recipient=f"bob@{one}", **held) for one in domains)))
    writer.close()
    outcome = invoke("-c", config, *more, "partner", "suggest")
    assert outcome.exit_code == 0
    return outcome


def test_partners_are_suggested(config: str) -> None:
    """A domain whose mail was held and that has DANE is suggested; what cannot be told now is named."""
    found = json.loads(suggest(config, "--json").stdout)

    (one,) = found["suggestions"]
    assert {name: one[name] for name in ("domain", "protected", "enveloped", "held", "by_tls", "by")} == {
        "domain": "signed.test",
        "protected": 6,
        "enveloped": 0,
        "held": 6,
        "by_tls": 0,
        "by": "dane",
    }
    assert [(other["domain"], other["reason"]) for other in found["passed_over"]] == [
        ("broken.test", "not known now; ask again later")
    ]
    assert found["days"] == 30
    ran = invoke("-c", config, *one["command"].split()[1:])
    assert ran.exit_code == 0
    assert json.loads(invoke("-c", config, "--json", "partner", "suggest").stdout)["suggestions"] == []


def test_suggestions_for_people(config: str) -> None:
    """The evidence stands beside the command to run."""
    lines = suggest(config).stdout.splitlines()

    assert lines[0] == (
        "signed.test: TLS is assured by DANE; in 30 days 6 protected copies, 0 as envelopes, 6 held, 0 by TLS"
    )
    assert lines[1].startswith("    gatepost partner add signed.test --ladder ")
    assert lines[3].startswith("  broken.test: not known now")
