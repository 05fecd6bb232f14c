"""
TLS is taken only where it is assured now: through the commands and a real Postfix, judged by what receivers got.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab.letter import canary, letter
from lab.nameserver import NameServer
from lab.town import Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@contextmanager
def silent_policy(town: Town) -> Iterator[None]:
    """Let the policy service take the milter's questions and answer none."""
    town.site.kill_service("policy", signal.SIGSTOP)
    try:
        yield
    finally:
        town.site.kill_service("policy", signal.SIGCONT)


@contextmanager
def silent_resolver(town: Town) -> Iterator[None]:
    """Let commands ask a resolver that answers nothing."""
    with NameServer(lambda _query, _by_tcp: None) as silent:
        town.site.set("dns.resolvers", [silent.name])
        try:
            yield
        finally:
            town.site.set("dns.resolvers", [])


def message() -> tuple[bytes, bytes]:
    """Give a message and the word by which its body is known."""
    word = canary().encode()
    return letter(word + b"\r\n"), word


def test_put_off_while_nobody_knows(the_town: Town) -> None:
    """A silent policy service weakens nothing and loses nothing: the client is told why, and its next try goes."""
    data, word = message()
    with silent_policy(the_town):
        outcome = the_town.send("doc@hosp.test", "carol@tls.test", "doc@hosp.test", message=data)

    assert outcome.reply.code == 451
    assert "4.4.3" in outcome.reply.text
    assert "carol@tls.test: " in outcome.reply.text
    assert "did not answer within" in outcome.reply.text
    assert [one for sink in the_town.sinks for one in sink.messages] == []

    assert the_town.send("doc@hosp.test", "carol@tls.test", "doc@hosp.test", message=data).ok
    (received,) = the_town.tls.wait_for(1)
    assert received.tls is not None
    assert word in received.data
    the_town.inside.wait_for(1)


def test_where_postfix_routes_elsewhere(the_town: Town) -> None:
    """A domain that transport_maps send elsewhere takes TLS only with a next hop in its row, and is held else."""
    site = the_town.site
    row = ["--tls", "verify", "--tls-name", "mx.tls.test", "--tls-ca", the_town.authority.file]
    the_town.postfix.route("routed.test", the_town.outside.port)
    site.gatepost("partner", "add", "routed.test", "--demand", "tls", *row)
    data, word = message()

    (told,) = site.json("explain", "--from", "doc@hosp.test", "--to", "eve@routed.test")["recipients"]
    assert the_town.send("doc@hosp.test", "eve@routed.test", message=data).ok

    assert told["treatment"] == "quarantine"
    assert any(
        "transport_maps: smtp:[127.0.0.1]" in reason and "--nexthop" in reason for reason in told["reasons"]
    )
    held = next(
        one["id"] for one in site.json("quarantine", "list")["held"] if one["recipients"] == ["eve@routed.test"]
    )
    _waits_for_dns(the_town, held)
    assert the_town.tls.messages == the_town.outside.messages == []

    site.gatepost("partner", "set", "routed.test", *row, "--nexthop", f"[127.0.0.1]:{the_town.tls.port}")
    site.gatepost("quarantine", "release", held)
    (received,) = the_town.tls.wait_for(1)
    assert (received.addresses, received.tls is not None, word in received.data) == (
        ("eve@routed.test",),
        True,
        True,
    )


def _waits_for_dns(town: Town, held: str) -> None:
    """While the resolver is silent, what DANE may assure is put off, and a release waits."""
    row = ["--tls", "dane", "--tls-name", "", "--tls-ca", "", "--nexthop", "unheard.test"]
    town.site.gatepost("partner", "set", "routed.test", *row)
    with silent_resolver(town):
        plan = town.site.json("explain", "--from", "doc@hosp.test", "--to", "eve@routed.test")
        refused = town.site.gatepost("--json", "quarantine", "release", held, check=False)

    assert (plan["verdict"], plan["copies"]) == ("tempfail", [])
    assert plan["recipients"][0]["treatment"] == "tempfail"
    assert any("no rung is usable now" in reason for reason in plan["recipients"][0]["reasons"])
    assert refused.returncode == 1
    assert "try again later" in refused.stderr
    assert json.loads(refused.stdout)["held"][0]["treatment"] == "tempfail"
