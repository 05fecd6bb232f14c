"""One message to many recipients: each gets it as assured for that recipient, and the record tells how it went."""

import pytest
from lab.client import Outcome
from lab.confidential import Confidential
from lab.internet import CONFIDENTIAL, OWN, Internet
from lab.letter import canary, letter
from lab.mail_host import Arrival
from lab.wait import until

pytestmark = pytest.mark.real

_DANE, _STS, _PARTNER, _KEYED, _HELD, _INSIDE = (
    "bob@one-dane.test",
    "bob@one-sts.test",
    "bob@one-partner.test",
    "ann@one-plain.test",
    "bob@one-plain.test",
    f"kim@{OWN}",
)


@pytest.fixture(scope="module")
def domains(net: Internet) -> Internet:
    """Give the Internet with a domain of each kind."""
    net.put_domain("one-dane.test", "mx.one-dane.test")
    net.put_host("mx.one-dane.test", "11.25.1.1", net.certificate("mx1.alpha.test"))
    net.put_domain("one-sts.test", "mx2.alpha.test")
    net.put_policy("one-sts.test", "mx2.alpha.test")
    net.put_domain("one-partner.test", "private.beta.test")
    net.put_domain("one-plain.test", "plain.beta.test")
    net.publish()
    name, authority = "private.beta.test", str(net.unknown)
    net.put_partners({"pattern": "one-partner.test", "tls": "verify", "tls_name": name, "tls_ca": authority})
    net.introduce(_KEYED)
    return net


def _arrival(net: Internet, recipient: str) -> Arrival:
    until(lambda: net.arrivals(recipient), 60, lambda: f"{recipient} has mail; {net.postfix.log()[-3000:]}")
    [arrival] = net.arrivals(recipient)
    return arrival


def _send(net: Internet, word: bytes, message_id: str, *recipients: str) -> Outcome:
    message = letter(word + b"\r\n", subject=CONFIDENTIAL, message_id=message_id)
    return net.send(*recipients, message=message)


def test_each_recipient_gets_what_is_assured(domains: Internet) -> None:
    """DANE, MTA-STS, a partner row, OpenPGP, quarantine, a colleague, all in one message: nobody else reads it."""
    net, word = domains, canary().encode()
    outcome = _send(net, word, "<one@hosp.test>", _DANE, _STS, _PARTNER, _KEYED, _HELD, _INSIDE)
    assert outcome.ok
    by_tls = {_DANE: "mx1.alpha.test", _STS: "mx2.alpha.test", _PARTNER: "private.beta.test"}
    for recipient, door in by_tls.items():
        arrival = _arrival(net, recipient)
        assert (arrival.door, bool(arrival.tls), word in arrival.message.data) == (door, True, True)
        assert arrival.message.addresses == (recipient,)
    keyed = _arrival(net, _KEYED)
    assert (keyed.door, keyed.tls) == ("plain.beta.test", "")
    assert word in net.gpg.decrypt(keyed.message.data).data
    assert any(word in message.data for message in net.inside.wait_for_recipients([_INSIDE]))
    assert net.arrivals(_HELD) == []
    assert any(_HELD in row["recipients"] for row in net.site.json("quarantine", "list")["held"])
    assert net.wire.readers(word) == set()


def test_record_tells_how_it_went(domains: Internet) -> None:
    """`why` names the host that took a copy, and that its certificate was verified."""
    net, word = domains, canary().encode()
    assert _send(net, word, "<how@hosp.test>", "eve@one-dane.test").ok
    _arrival(net, "eve@one-dane.test")

    def told() -> str:
        return net.site.gatepost("why", "<how@hosp.test>", check=False).stdout

    until(lambda: "Verified" in told(), 60, lambda: f"the record tells how it went; it says {told()}")
    assert "mx.one-dane.test" in told()


def test_mail_in_clear_is_noticed(domains: Internet) -> None:
    """What no rule protects goes in clear to a host without TLS, and the wire and its receiver tell so."""
    net, word = domains, canary().encode()
    assert net.send("eve@one-plain.test", message=letter(word + b"\r\n")).ok
    arrival = _arrival(net, "eve@one-plain.test")
    assert (arrival.door, arrival.tls) == ("plain.beta.test", "")
    until(lambda: net.wire.readers(word), 30, "the wire tells of it")
    assert net.wire.readers(word) == {("11.25.2.4", 25)}


def test_missing_guard_would_be_noticed(domains: Internet) -> None:
    """With the TLS route's guards taken away, mail that must be protected goes in clear, and is seen to."""
    net = domains
    net.put_domain("unguarded.test", "plain.beta.test")
    net.publish()
    net.put_partners({"pattern": "unguarded.test", "tls": "verify", "tls_name": "plain.beta.test"})
    names = [f"gatepost-tls/unix/{name}" for name in ("smtp_tls_security_level", "smtp_tls_policy_maps")]
    guards = {name: net.postfix.option(name) for name in names}
    for name, value in zip(names, ("may", ""), strict=True):
        net.postfix.configure(f"{name}={value}")
    net.postfix.reload()
    try:
        message = Confidential(net, "bob@unguarded.test")
        with pytest.raises(AssertionError, match=r"it came in clear at plain\.beta\.test"):
            message.arrived()
        with pytest.raises(AssertionError, match="went in clear to"):
            message.check_unread()
    finally:
        for name, value in guards.items():
            net.postfix.configure(f"{name}={value}")
        net.postfix.reload()
