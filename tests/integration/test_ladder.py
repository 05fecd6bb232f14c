"""
TLS is taken only where it is assured now: through the commands and a real Postfix, judged by what receivers got.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab.letter import canary, letter
from lab.town import Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@contextmanager
def silent_policy(town: Town) -> Iterator[None]:
    """Let the policy service take questions and answer none."""
    town.site.kill_service("policy", signal.SIGSTOP)
    try:
        yield
    finally:
        town.site.kill_service("policy", signal.SIGCONT)


def message() -> tuple[bytes, bytes]:
    """Give a message and the word by which its body is known."""
    word = canary().encode()
    return letter(word + b"\r\n"), word


def test_put_off_while_nobody_knows(the_town: Town) -> None:
    """A silent policy service weakens nothing and loses nothing: the client is told why, and its next try goes."""
    data, word = message()
    with silent_policy(the_town):
        plan = the_town.site.json("explain", "--from", "doc@hosp.test", "--to", "carol@tls.test")
        outcome = the_town.send("doc@hosp.test", "carol@tls.test", "doc@hosp.test", message=data)

    assert (plan["verdict"], plan["copies"]) == ("tempfail", [])
    assert plan["recipients"][0]["treatment"] == "tempfail"
    assert any("did not answer within" in reason for reason in plan["recipients"][0]["reasons"])
    assert outcome.reply.code == 451
    assert "4.4.3" in outcome.reply.text
    assert "carol@tls.test: " in outcome.reply.text
    assert [one for sink in the_town.sinks for one in sink.messages] == []

    assert the_town.send("doc@hosp.test", "carol@tls.test", "doc@hosp.test", message=data).ok
    (received,) = the_town.tls.wait_for(1)
    assert received.tls is not None
    assert word in received.data
    the_town.inside.wait_for(1)


def test_where_postfix_routes_elsewhere(the_town: Town) -> None:
    """
    A domain that transport_maps send elsewhere takes TLS only with a next hop in its row; a release waits as well.
    """
    site = the_town.site
    row = ["--demand", "tls", "--tls", "verify", "--tls-name", "mx.tls.test", "--tls-ca", the_town.authority.file]
    the_town.postfix.route("routed.test", the_town.outside.port)
    site.gatepost("partner", "add", "routed.test", *row)
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

    site.gatepost("partner", "set", "routed.test", "--nexthop", f"[127.0.0.1]:{the_town.tls.port}")
    with silent_policy(the_town):
        refused = site.gatepost("--json", "quarantine", "release", held, check=False)
    assert refused.returncode == 1
    assert "try again later" in refused.stderr
    assert json.loads(refused.stdout)["held"][0]["treatment"] == "tempfail"
    assert the_town.tls.messages == the_town.outside.messages == []

    site.gatepost("quarantine", "release", held)
    (received,) = the_town.tls.wait_for(1)
    assert (received.addresses, received.tls is not None, word in received.data) == (
        ("eve@routed.test",),
        True,
        True,
    )


def test_explain_says_that_the_service_is_not_there(the_town: Town) -> None:
    """Without the policy service the command tells so, in the place of a guess."""
    site = the_town.site
    socket = site.setting("policy.socket")
    site.set("policy.socket", f"{socket}-of-nobody")
    try:
        plan = site.json("explain", "--from", "doc@hosp.test", "--to", "carol@tls.test")
    finally:
        site.set("policy.socket", socket)

    assert plan["verdict"] == "tempfail"
    assert any("run policy" in reason for reason in plan["recipients"][0]["reasons"])
