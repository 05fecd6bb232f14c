"""The mail hosts of a next hop."""

import asyncio

import pytest
from tests.fake_resolver import FakeResolver

from gatepost.transport import hop as hops
from gatepost.transport.discovery import MailHosts
from gatepost.transport.mx import find_hosts
from gatepost.transport.resolver import LookUpFailed


@pytest.fixture
def resolver() -> FakeResolver:
    return FakeResolver()


def found(resolver: FakeResolver, hop: str) -> MailHosts:
    return asyncio.run(find_hosts(resolver, hops.read(hop)))


def test_mx_records_are_kept_in_order_of_preference(resolver: FakeResolver) -> None:
    """The hosts are those of the MX records; the answer's security and time to live go with them."""
    resolver.has_mx("example.org", "10 mx1.example.org", "20 mx2.example.org")

    answer = found(resolver, "example.org:2525")

    assert answer.names == ("mx1.example.org", "mx2.example.org")
    assert (answer.secure, answer.seconds) == (True, 300)
    assert answer.steps == (
        "MX records of example.org: 10 mx1.example.org, 20 mx2.example.org (validated by DNSSEC)",
    )


def test_a_host_of_two_mx_records_is_one_host(resolver: FakeResolver) -> None:
    """It is asked about once, in the place of its best preference."""
    resolver.has_mx("example.org", "10 a.example.org", "20 b.example.org", "30 a.example.org")

    assert found(resolver, "example.org").names == ("a.example.org", "b.example.org")


def test_an_mx_answer_without_dnssec_is_told(resolver: FakeResolver) -> None:
    """An answer that nobody vouches for is not secure."""
    resolver.has_mx("example.org", "10 mx.example.org", secure=False)

    answer = found(resolver, "example.org")

    assert not answer.secure
    assert "not validated by DNSSEC" in answer.steps[0]


def test_the_null_mx_says_that_nothing_takes_the_mail(resolver: FakeResolver) -> None:
    """RFC 7505: no address is asked for either."""
    resolver.has_mx("example.org", "0 ")

    answer = found(resolver, "example.org")

    assert answer.names == ()
    assert "null MX" in answer.steps[0]
    assert resolver.asked == ["MX example.org"]


@pytest.mark.parametrize("name", ["", "1.2.3", r"a\032b.example", "-a.example", "a" * 64, r"\255.example", "a@b"])
def test_an_mx_record_that_names_no_host_is_passed_over(resolver: FakeResolver, name: str) -> None:
    """The others count, and the admin is told."""
    resolver.has_mx("example.org", f"5 {name}", "10 mx.example.org")

    answer = found(resolver, "example.org")

    assert answer.names == ("mx.example.org",)
    assert answer.steps[1] == f'MX 5 "{name or "."}" names no host: passed over'


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_mx_record_that_spells_an_address_counts(resolver: FakeResolver, address: str) -> None:
    """Postfix delivers there: leaving it out would overlook a host of which nothing is known."""
    resolver.has_mx("example.org", f"5 {address}", "10 mx.example.org")

    assert found(resolver, "example.org").names == (address, "mx.example.org")


def test_mx_records_that_all_name_no_host_leave_none(resolver: FakeResolver) -> None:
    """The domain's own address does not step in."""
    resolver.has_mx("example.org", "5 1.2.3")
    resolver.has_addresses("example.org", "192.0.2.1")

    assert found(resolver, "example.org").names == ()


def test_a_domain_without_mx_is_its_own_mail_host(resolver: FakeResolver) -> None:
    """RFC 5321 section 5.1; the look-up that found no MX record says whether it is secure."""
    resolver.has_addresses("example.org", "192.0.2.1", secure=False)

    answer = found(resolver, "example.org")

    assert answer.names == ("example.org",)
    assert answer.secure
    assert answer.seconds == 60


def test_a_domain_without_mx_and_address_takes_no_mail(resolver: FakeResolver) -> None:
    """There is nowhere to deliver to."""
    resolver.has("TXT", "example.org", [b"v=spf1 -all"])

    answer = found(resolver, "example.org")

    assert answer.names == ()
    assert "no address" in answer.steps[0]


def test_a_domain_that_does_not_exist_is_asked_for_once(resolver: FakeResolver) -> None:
    """NXDOMAIN holds for every type."""
    answer = found(resolver, "example.org")

    assert answer.names == ()
    assert "does not exist" in answer.steps[0]
    assert resolver.asked == ["MX example.org"]


@pytest.mark.parametrize("hop", ["[mx.example.org]", "[192.0.2.1]", "[2001:db8::1]"])
def test_brackets_ask_nothing(resolver: FakeResolver, hop: str) -> None:
    """The admin named the host: nobody can have forged that."""
    answer = found(resolver, hop)

    assert answer.names == (hop.strip("[]"),)
    assert answer.secure
    assert resolver.asked == []


@pytest.mark.parametrize("kind", ["MX", "addresses"])
def test_a_failed_look_up_is_no_empty_answer(resolver: FakeResolver, kind: str) -> None:
    """A domain whose MX or address records cannot be had is not one without them."""
    resolver.has("TXT", "example.org", [])
    resolver.fails(kind, "example.org")

    with pytest.raises(LookUpFailed):
        found(resolver, "example.org")
