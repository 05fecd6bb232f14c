"""DANE (RFC 7672): what DNSSEC vouches for carries confidential mail; anything less does not."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
from lab.confidential import Told, told
from lab.internet import Internet

pytestmark = pytest.mark.real

_OTHER_KEY = "3 1 1 " + "ab" * 32


def _good(net: Internet, domain: str) -> None:
    net.put_domain(domain, f"mx.{domain}")
    net.put_host(f"mx.{domain}", "11.25.1.1", net.certificate("mx1.alpha.test"))


def _every_host(net: Internet, domain: str) -> None:
    _good(net, domain)
    net.put_host(f"mx2.{domain}", "11.25.1.2", net.certificate("mx2.alpha.test"))
    net.put_domain(domain, f"mx.{domain}", f"mx2.{domain}")


def _alias(net: Internet, domain: str) -> None:
    _good(net, domain)
    net.put(f"alias.{domain}", "CNAME", f"mx.{domain}.")
    net.put_domain(domain, f"alias.{domain}")


def _by_authority(net: Internet, domain: str) -> None:
    """Name the authority that issued the host's certificate, by the whole certificate of its own."""
    net.put_domain(domain, "mx3.alpha.test")
    whole = ssl.PEM_cert_to_DER_cert(net.authority.file.read_text()).hex()
    net.put("_25._tcp.mx3.alpha.test", "TLSA", f"2 0 0 {whole}")


def _one_of_two_records(net: Internet, domain: str) -> None:
    _good(net, domain)
    right = f"3 1 1 {net.certificate('mx1.alpha.test').tlsa}"
    net.put(f"_25._tcp.mx.{domain}", "TLSA", _OTHER_KEY, right)


def _unusable(net: Internet, domain: str) -> None:
    """Publish usage 1, which is not for SMTP (RFC 7672 section 3.1.3)."""
    _good(net, domain)
    net.put(f"_25._tcp.mx.{domain}", "TLSA", f"1 1 1 {net.certificate('mx1.alpha.test').tlsa}")


def _half(net: Internet, domain: str) -> None:
    _good(net, domain)
    net.put_domain(domain, f"mx.{domain}", "mx2.alpha.test")


def _without(net: Internet, domain: str) -> None:
    net.put_domain(domain, "mx2.alpha.test")


def _no_tls(net: Internet, domain: str) -> None:
    net.put_domain(domain, "plain.beta.test")


def _insecure_host(net: Internet, domain: str) -> None:
    """Sign the domain, but not its mail host's zone."""
    net.put_domain(domain, "mx.insecure.test")
    net.put_host("mx.insecure.test", "11.25.1.1", net.certificate("mx1.alpha.test"))


def _mismatching(net: Internet, domain: str) -> None:
    _good(net, domain)
    net.put(f"_25._tcp.mx.{domain}", "TLSA", _OTHER_KEY)


def _stripped(net: Internet, domain: str) -> None:
    _good(net, domain)
    net.put(f"mx.{domain}", "A", "11.25.2.4")  # where plain.beta.test is


@dataclass(frozen=True)
class Case:
    """A domain, how DNS is, and what becomes of mail to somebody there who has no key."""

    domain: str
    put: Callable[[Internet, str], None]
    becomes: Literal["arrived", "deferred", "held", "put off"]
    seen: str  # the door; Postfix's reason; the reason in the plan

    def __str__(self) -> str:
        return self.domain


_ASSURED = [
    Case("good.test", _good, "arrived", "mx1.alpha.test"),
    Case("every-host.test", _every_host, "arrived", "mx1.alpha.test"),
    Case("alias.test", _alias, "arrived", "mx1.alpha.test"),
    Case("by-authority.test", _by_authority, "arrived", "mx3.alpha.test"),
    Case("two-records.test", _one_of_two_records, "arrived", "mx1.alpha.test"),
    Case("mismatching.test", _mismatching, "deferred", "Server certificate not"),
    Case("stripped-dane.test", _stripped, "deferred", "TLS is required"),
]
_NOT_ASSURED = [
    Case("unusable.test", _unusable, "held", "usable"),
    Case("half.test", _half, "held", "mx2.alpha.test"),
    Case("without.test", _without, "held", "mx2.alpha.test"),
    Case("no-tls.test", _no_tls, "held", "plain.beta.test"),
    Case("insecure.test", _good, "held", "insecure.test"),
    Case("insecure-host.test", _insecure_host, "held", "mx.insecure.test"),
]
_UNKNOWN = Case("bogus.test", _good, "put off", "bogus.test")


@pytest.fixture(scope="module")
def cases(net: Internet) -> Told:
    """Give what is told of mail to all these domains; ann has a key where TLS is not assured, bob has none."""
    for case in (*_ASSURED, *_NOT_ASSURED, _UNKNOWN):
        case.put(net, case.domain)
    net.publish()
    net.introduce(*(f"ann@{case.domain}" for case in (*_NOT_ASSURED, _UNKNOWN)))
    keyed = [f"ann@{case.domain}" for case in _NOT_ASSURED]
    return told(net, [*(f"bob@{case.domain}" for case in (*_ASSURED, *_NOT_ASSURED)), *keyed])


@pytest.mark.parametrize("case", _ASSURED, ids=str)
def test_assured_domains_get_mail_by_dane_alone(net: Internet, cases: Told, case: Case) -> None:
    """Where every mail host has usable TLSA records, mail goes by DANE; one that does not match gets nothing."""
    recipient = f"bob@{case.domain}"
    assert cases.plans[recipient]["treatment"] == "tls"
    found = cases.checks[case.domain]
    assert (found["assured"], found["by"]) == (True, "dane")
    message = cases.messages[recipient]
    if case.becomes == "arrived":
        assert message.arrived().door == case.seen
    else:
        assert case.seen in message.deferred()
        net.forget(recipient)


@pytest.mark.parametrize("case", _NOT_ASSURED, ids=str)
def test_domains_without_assurance_get_no_confidential_mail(cases: Told, case: Case) -> None:
    """Where one mail host is without DNSSEC or usable TLSA, mail is held, or encrypted for whoever has a key."""
    without, keyed = f"bob@{case.domain}", f"ann@{case.domain}"
    assert cases.plans[without]["treatment"] == "quarantine"
    assert cases.plans[keyed]["treatment"] == "openpgp"
    found = cases.checks[case.domain]
    assert found["assured"] is False
    assert case.seen in " ".join(found["steps"])
    assert without in cases.held
    cases.messages[without].check_went_nowhere()
    cases.messages[keyed].arrived_encrypted()


@pytest.mark.usefixtures("cases")
def test_bogus_answers_are_no_answers(net: Internet) -> None:
    """A chain that does not validate leaves it unknown: mail is put off, or encrypted for whoever has a key."""
    found = told(net, ["bob@bogus.test", "ann@bogus.test"])
    check = found.checks["bogus.test"]
    assert (check["assured"], check["unknown"]) == (False, True)
    assert found.plans["bob@bogus.test"]["treatment"] not in ("tls", "pass")
    assert found.plans["ann@bogus.test"]["treatment"] == "openpgp"
    assert found.messages["bob@bogus.test"].put_off().startswith("451")
    assert found.messages["ann@bogus.test"].outcome.ok
    assert "bogus.test" in found.messages["ann@bogus.test"].deferred()  # where to is a matter of DNS all the same
    net.forget("ann@bogus.test")
