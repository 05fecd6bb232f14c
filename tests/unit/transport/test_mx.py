"""The mail hosts of a next hop."""

import asyncio
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_resolver import FakeResolver

from gatepost.errors import AddressError
from gatepost.transport.mx import MailHosts, NextHop, find_hosts, is_host, read_hop
from gatepost.transport.resolver import LookUpFailed, MailHost


@pytest.fixture
def resolver() -> FakeResolver:
    return FakeResolver()


def found(resolver: FakeResolver, hop: str) -> MailHosts:
    return asyncio.run(find_hosts(resolver, read_hop(hop)))


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("Example.ORG", NextHop("example.org", 25, by_mx=True)),
        ("example.org.", NextHop("example.org", 25, by_mx=True)),
        ("example.org:587", NextHop("example.org", 587, by_mx=True)),
        ("example.org:submission", NextHop("example.org", 587, by_mx=True)),
        ("münchen.example", NextHop("xn--mnchen-3ya.example", 25, by_mx=True)),
        ("faß.example", NextHop("xn--fa-hia.example", 25, by_mx=True)),
        ("a_b.example", NextHop("a_b.example", 25, by_mx=True)),
        ("[mx.example.org]", NextHop("mx.example.org", 25, by_mx=False)),
        ("[MX.example.org]:2525", NextHop("mx.example.org", 2525, by_mx=False)),
        ("[192.0.2.1]", NextHop("192.0.2.1", 25, by_mx=False, address=ip_address("192.0.2.1"))),
        ("[192.0.2.1]:smtp", NextHop("192.0.2.1", 25, by_mx=False, address=ip_address("192.0.2.1"))),
        ("[2001:DB8::1]:26", NextHop("2001:db8::1", 26, by_mx=False, address=ip_address("2001:db8::1"))),
        ("[IPv6:2001:db8::1]", NextHop("2001:db8::1", 25, by_mx=False, address=ip_address("2001:db8::1"))),
    ],
)
def test_a_next_hop_is_read_as_postfix_names_it(text: str, hop: NextHop) -> None:
    """With brackets it is the host itself, without them a domain; a port may follow; names become A-labels."""
    assert read_hop(text) == hop


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[mx.example.org",
        "mx.example.org]",
        "example.org:",
        "example.org:0",
        "example.org:65536",
        "example.org:" + "9" * 5000,
        "example.org:nosuch",
        "2001:db8::1",
        "192.0.2.1",
        "a..example",
        "-a.example",
        "a-.example",
        "a b.example",
        "relay1.example, relay2.example",
        "a" * 64 + ".example",
        ".".join(["a" * 62] * 5),
        "x\u2028.example",
        "münchen_.example",
    ],
)
def test_what_is_no_next_hop_is_refused(text: str) -> None:
    """A text that Postfix could not deliver to is an error that quotes it."""
    with pytest.raises(AddressError):
        read_hop(text)


@given(st.text(max_size=300))
def test_any_text_is_a_next_hop_or_an_address_error(text: str) -> None:
    """Reading gives a host that can be asked for, or an AddressError."""
    try:
        hop = read_hop(text)
    except AddressError:
        return
    assert hop.address is not None or is_host(hop.host)
    assert 0 < hop.port < 65_536


def test_mx_records_are_kept_in_order_of_preference(resolver: FakeResolver) -> None:
    """The hosts are those of the MX records; the answer's security and time to live go with them."""
    resolver.has_mx("example.org", "10 mx1.example.org", "20 mx2.example.org")

    answer = found(resolver, "example.org:2525")

    assert answer.hosts == (MailHost(10, "mx1.example.org"), MailHost(20, "mx2.example.org"))
    assert (answer.secure, answer.seconds, answer.hop.port) == (True, 300, 2525)
    assert answer.steps == (
        "MX records of example.org: 10 mx1.example.org, 20 mx2.example.org (validated by DNSSEC)",
    )


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

    assert answer.hosts == ()
    assert "null MX" in answer.steps[0]
    assert resolver.asked == ["MX example.org"]


@pytest.mark.parametrize(
    "name", ["", "1.2.3.4", r"a\032b.example", "-a.example", "a" * 64, r"\255.example", "a@b"]
)
def test_an_mx_record_that_names_no_host_is_passed_over(resolver: FakeResolver, name: str) -> None:
    """The others count, and the admin is told."""
    resolver.has_mx("example.org", f"5 {name}", "10 mx.example.org")

    answer = found(resolver, "example.org")

    assert answer.hosts == (MailHost(10, "mx.example.org"),)
    assert answer.steps[1] == f'MX 5 "{name or "."}" names no host: passed over'


def test_mx_records_that_all_name_no_host_leave_none(resolver: FakeResolver) -> None:
    """The domain's own address does not step in."""
    resolver.has_mx("example.org", "5 1.2.3.4")
    resolver.has_addresses("example.org", "192.0.2.1")

    assert found(resolver, "example.org").hosts == ()


def test_a_domain_without_mx_is_its_own_mail_host(resolver: FakeResolver) -> None:
    """RFC 5321 section 5.1; the look-up that found no MX record says whether it is secure."""
    resolver.has_addresses("example.org", "192.0.2.1", secure=False)

    answer = found(resolver, "example.org")

    assert answer.hosts == (MailHost(0, "example.org"),)
    assert answer.secure
    assert answer.seconds == 60


def test_a_domain_without_mx_and_address_takes_no_mail(resolver: FakeResolver) -> None:
    """There is nowhere to deliver to."""
    resolver.has("TXT", "example.org", [b"v=spf1 -all"])

    answer = found(resolver, "example.org")

    assert answer.hosts == ()
    assert "no address" in answer.steps[0]


def test_a_domain_that_does_not_exist_is_asked_for_once(resolver: FakeResolver) -> None:
    """NXDOMAIN holds for every type."""
    answer = found(resolver, "example.org")

    assert answer.hosts == ()
    assert "does not exist" in answer.steps[0]
    assert resolver.asked == ["MX example.org"]


@pytest.mark.parametrize("hop", ["[mx.example.org]", "[192.0.2.1]", "[2001:db8::1]"])
def test_brackets_ask_nothing(resolver: FakeResolver, hop: str) -> None:
    """The admin named the host: nobody can have forged that."""
    answer = found(resolver, hop)

    assert [host.name for host in answer.hosts] == [hop.strip("[]")]
    assert answer.secure
    assert resolver.asked == []


@pytest.mark.parametrize("kind", ["MX", "addresses"])
def test_a_failed_look_up_is_no_empty_answer(resolver: FakeResolver, kind: str) -> None:
    """A domain whose MX or address records cannot be had is not one without them."""
    resolver.has("TXT", "example.org", [])
    resolver.fails(kind, "example.org")

    with pytest.raises(LookUpFailed):
        found(resolver, "example.org")
