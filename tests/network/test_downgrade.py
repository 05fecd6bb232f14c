"""
What changes between decision and delivery: mail that was to go by assured TLS goes by nothing less.

Each message was decided while its domain was well, and waits in the queue when things change. Then its delivery is
tried.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from lab.certificate import Authority, ServerCertificate, self_signed
from lab.confidential import Confidential
from lab.internet import EVIL, Internet

pytestmark = pytest.mark.real

_DOOR = "mx.gamma.test"  # the real name of the host, for which an authority vouches; without TLSA records
_ALIAS = "mx.gamma-dane.test"  # the same host; DNSSEC vouches for its key
_BY_DANE, _BY_STS, _BY_PARTNER = "late-dane.test", "late-sts.test", "late-partner.test"
_ROW = {"pattern": _BY_PARTNER, "tls": "verify", "tls_name": _DOOR}
_DOMAINS = (_BY_DANE, _BY_STS, _BY_PARTNER)


@pytest.fixture(scope="module")
def domains(net: Internet) -> Internet:
    """Give the Internet with three domains at one mail host: by DANE, by MTA-STS, and by a partner row."""
    net.put_domain(_BY_DANE, _ALIAS)
    net.put_domain(_BY_STS, _DOOR)
    net.put_domain(_BY_PARTNER, _DOOR)
    net.put_policy(_BY_STS, _DOOR)
    net.put_host(_ALIAS, _address(net), net.certificate(_DOOR))
    net.publish()
    net.put_partners(_ROW)
    return net


def _address(net: Internet) -> str:
    return net.hosts["gamma"].doors[0].address


@contextmanager
def _face(net: Internet, certificate: ServerCertificate | None) -> Iterator[None]:
    """Let the mail host show another certificate, or not offer STARTTLS."""
    host = net.hosts["gamma"]
    door = host.doors[0]
    host.open(dataclasses.replace(door, certificate=certificate))
    try:
        yield
    finally:
        host.open(door)


@contextmanager
def _swapped(net: Internet) -> Iterator[None]:
    """Let the host show a certificate with its name that nobody vouches for."""
    with _face(net, self_signed(net.folder, _DOOR)):
        yield


@contextmanager
def _swapped_for_an_authority_nobody_knows(net: Internet) -> Iterator[None]:
    with _face(net, Authority(net.folder / "new", "New CA").issue(_DOOR, _ALIAS)):
        yield


@contextmanager
def _stripped(net: Internet) -> Iterator[None]:
    """Take STARTTLS away."""
    with _face(net, None):
        yield


@contextmanager
def _moved(net: Internet) -> Iterator[None]:
    """Let MX name the attacker's host, whose certificate for its own name is good."""
    for domain in _DOMAINS:
        net.put_domain(domain, net.evil.name)
    net.publish()
    try:
        yield
    finally:
        net.put_domain(_BY_DANE, _ALIAS)
        net.put_domain(_BY_STS, _DOOR)
        net.put_domain(_BY_PARTNER, _DOOR)
        net.publish()


@contextmanager
def _taken_over(net: Internet) -> Iterator[None]:
    """Let the mail host's names have the attacker's address."""
    for name in (_ALIAS, _DOOR):
        net.put(name, "A", EVIL)
    net.publish()
    try:
        yield
    finally:
        for name in (_ALIAS, _DOOR):
            net.put(name, "A", _address(net))
        net.publish()


@contextmanager
def _withdrawn(net: Internet) -> Iterator[None]:
    """Take away what assured TLS: the TLSA record, the policy, the partner row."""
    net.put_host(_ALIAS, _address(net))
    net.put_policy(_BY_STS, mode="none", identity="2")
    net.publish()
    net.site.gatepost("partner", "remove", _BY_PARTNER)
    net.forget_discoveries()
    try:
        yield
    finally:
        net.put_host(_ALIAS, _address(net), net.certificate(_DOOR))
        net.put_policy(_BY_STS, _DOOR, identity="3")
        net.publish()
        net.put_partners(_ROW)
        net.forget_discoveries()


_CHANGES: dict[str, Callable[[Internet], AbstractContextManager[None]]] = {
    "certificate swapped": _swapped,
    "certificate of an unknown authority": _swapped_for_an_authority_nobody_knows,
    "STARTTLS stripped": _stripped,
    "MX changed": _moved,
    "address changed": _taken_over,
    "policies withdrawn": _withdrawn,
}


@pytest.mark.parametrize("change", _CHANGES)
def test_nothing_goes_by_less_than_was_decided(domains: Internet, change: str) -> None:
    """After the change all mail waits, and nobody reads it; when all is well again it is delivered."""
    _check(domains, change)


@pytest.mark.soak
@pytest.mark.parametrize("changes", list(itertools.permutations(_CHANGES, 2)), ids=", then ".join)
def test_nothing_goes_by_less_whatever_changes_at_once(domains: Internet, changes: tuple[str, str]) -> None:
    """The same after any two changes, in either order."""
    _check(domains, *changes)


def _check(net: Internet, *changes: str) -> None:
    with ExitStack() as stack:
        with net.delivery_stopped():
            messages = [Confidential(net, f"bob@{domain}") for domain in _DOMAINS]
            assert all(message.outcome.ok for message in messages)
            for change in changes:
                stack.enter_context(_CHANGES[change](net))
        for message in messages:
            message.deferred()
    if len(changes) > 1:
        net.forget_discoveries()  # what was found between the end of one change and that of the other
    net.postfix.flush()
    assert [message.arrived().door for message in messages] == [_DOOR] * 3
