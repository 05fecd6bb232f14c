"""MTA-STS (RFC 8461): an enforced policy that can be trusted carries confidential mail; anything less does not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from lab.certificate import Authority
from lab.confidential import Confidential, Told, explained, told
from lab.internet import PRIVATE_WEB, Internet

pytestmark = pytest.mark.real

_HOST = "mx2.alpha.test"


@dataclass(frozen=True)
class Case:
    """A domain, its mail host and its policy, and what becomes of mail to somebody there who has no key."""

    domain: str
    becomes: Literal["arrived", "deferred", "held", "put off"]
    seen: str  # the door; what Postfix says of the host; a step of `tls check`
    host: str = _HOST
    allowed: str = ""  # the host that the policy names, if it is another
    policy: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Internet, str], None] = lambda _net, _domain: None

    def __str__(self) -> str:
        return self.domain


def _certificate_of_other_name(net: Internet, domain: str) -> None:
    net.put_policy(domain, _HOST, certificate=net.authority.issue("other.test"))


def _certificate_of_other_authority(net: Internet, domain: str) -> None:
    issuer = Authority(net.folder / "strange", "Strange CA")
    net.put_policy(domain, _HOST, certificate=issuer.issue(f"mta-sts.{domain}"))


def _expired_certificate(net: Internet, domain: str) -> None:
    net.put_policy(domain, _HOST, certificate=net.authority.issue(f"mta-sts.{domain}", expired=True))


def _without_record(net: Internet, domain: str) -> None:
    net.put(f"_mta-sts.{domain}", "TXT")


_ASSURED = [
    Case("sts.test", "arrived", _HOST),
    Case("sts-pattern.test", "arrived", _HOST, allowed="*.alpha.test"),
    Case("sts-expired.test", "deferred", "certificate has expired", host="expired.beta.test"),
    Case("sts-wrong.test", "deferred", "hostname mismatch", host="wrong.beta.test"),
    Case("sts-self.test", "deferred", "self-signed certificate", host="self.beta.test"),
    Case("sts-stripped.test", "deferred", "TLS is required, but was not offered", host="plain.beta.test"),
]
_NOT_ASSURED = [
    Case("sts-other-name.test", "held", "certificate", change=_certificate_of_other_name),
    Case("sts-other-ca.test", "held", "certificate", change=_certificate_of_other_authority),
    Case("sts-old.test", "held", "certificate", change=_expired_certificate),
    Case("sts-301.test", "held", "301", policy={"how": "redirects"}),
    Case("sts-long.test", "held", "65536", policy={"how": "long"}),
    Case("sts-malformed.test", "held", "version", policy={"text": "mode: enforce\nmx: mx2.alpha.test\n"}),
    Case("sts-testing.test", "held", "mode testing assures nothing", policy={"mode": "testing"}),
    Case("sts-none.test", "held", "mode none assures nothing", policy={"mode": "none"}),
    Case("sts-others.test", "put off", "it names none of the mail hosts", allowed="mx1.alpha.test"),
    Case("sts-private.test", "held", PRIVATE_WEB, policy={"address": PRIVATE_WEB}),
    Case("sts-without.test", "held", "publishes no MTA-STS policy", change=_without_record),
]


@pytest.fixture(scope="module")
def cases(net: Internet) -> Told:
    """Give what is told of mail to all these domains; ann has a key where TLS is not assured, bob has none."""
    for case in (*_ASSURED, *_NOT_ASSURED):
        net.put_domain(case.domain, case.host)
        net.put_policy(case.domain, case.allowed or case.host, **case.policy)
        case.change(net, case.domain)
    net.publish()
    keyed = [f"ann@{case.domain}" for case in _NOT_ASSURED]
    net.introduce(*keyed)
    return told(net, [*(f"bob@{case.domain}" for case in (*_ASSURED, *_NOT_ASSURED)), *keyed])


@pytest.mark.parametrize("case", _ASSURED, ids=str)
def test_enforced_policies_carry_mail_to_the_hosts_that_keep_them(net: Internet, cases: Told, case: Case) -> None:
    """Where a policy is enforced, mail goes to a host that it names and that proves its name, or it waits."""
    recipient = f"bob@{case.domain}"
    assert cases.plans[recipient]["treatment"] == "tls"
    found = cases.checks[case.domain]
    assert (found["assured"], found["by"]) == (True, "mta-sts")
    message = cases.messages[recipient]
    if case.becomes == "arrived":
        assert message.arrived().door == case.seen
    else:
        assert case.seen in message.deferred() + net.complaints(case.host)
        net.forget(recipient)


@pytest.mark.parametrize("case", _NOT_ASSURED, ids=str)
def test_other_policies_carry_no_confidential_mail(cases: Told, case: Case) -> None:
    """
    A policy that cannot be trusted, or is not enforced, is as good as none: held, or encrypted for ann.

    One that names none of the mail hosts forbids all of them (RFC 8461 section 5): put off, or encrypted for ann.
    """
    without, keyed = f"bob@{case.domain}", f"ann@{case.domain}"
    assert cases.plans[without]["treatment"] not in ("tls", "pass")
    assert cases.plans[keyed]["treatment"] == "openpgp"
    found = cases.checks[case.domain]
    assert found["assured"] is False
    assert case.seen in " ".join(found["steps"])
    if case.becomes == "put off":
        assert cases.messages[without].put_off().startswith("451")
    else:
        assert without in cases.held
        cases.messages[without].check_went_nowhere()
    cases.messages[keyed].arrived_encrypted()


def test_slow_policy_host_weakens_nothing(net: Internet) -> None:
    """While the policy is being fetched it is unknown: mail is put off, or encrypted for whoever has a key."""
    domain = "sts-slow.test"
    net.put_domain(domain, _HOST)
    net.put_policy(domain, _HOST, how="stalls")
    net.publish()
    net.introduce(f"ann@{domain}")
    without, keyed = Confidential(net, f"bob@{domain}"), Confidential(net, f"ann@{domain}")
    assert without.put_off().startswith("451")
    keyed.arrived_encrypted()


def test_policies_count_as_long_and_as_soon_as_they_should(net: Internet) -> None:
    """
    A policy that was fetched counts while its host is down, and when DNS names it no more.

    One that has changed counts once DNS names another id, in place of the one that was kept.
    """
    kept, changed = "sts-kept.test", "sts-changed.test"
    for domain in (kept, changed):
        net.put_domain(domain, _HOST)
        net.put_policy(domain, _HOST)
    net.publish()
    for domain in (kept, changed):
        assert Confidential(net, f"bob@{domain}").arrived().door == _HOST

    net.put_policy(kept, _HOST, identity="2", how="nothing")
    net.put_domain(changed, "mx1.alpha.test")
    net.put_policy(changed, "mx1.alpha.test", identity="2")
    net.publish()
    net.forget_discoveries()
    assert Confidential(net, f"ann@{kept}").arrived().door == _HOST
    assert "the kept policy counts" in " ".join(explained(net, f"ann@{kept}")[0]["reasons"])
    assert Confidential(net, f"ann@{changed}").arrived().door == "mx1.alpha.test"

    _without_record(net, kept)
    net.put_policy(changed, "mx1.alpha.test", identity="3", mode="none")
    net.publish()
    net.forget_discoveries()
    assert Confidential(net, f"eve@{kept}").arrived().door == _HOST
    found = told(net, [f"eve@{changed}"])
    assert f"eve@{changed}" in found.held
    found.messages[f"eve@{changed}"].check_went_nowhere()
