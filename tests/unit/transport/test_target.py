"""Which addresses may be connected to."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.transport.resolver import LookUpFailed
from gatepost.transport.target import reachable, refusal

PRIVATE = [
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::8.8.8.8",
    "::10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::224.0.0.1",
    "64:ff9b::0.0.0.0",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001:0:808:808::f5ff:fffe",
    "2001:db8::1",
    "2002:a00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
]
NEVER = ["0.0.0.0", "224.0.0.1", "239.1.1.1", "::", "ff02::1", "ff0e::1"]  # noqa: S104 - no place to bind to
PUBLIC = ["8.8.8.8", "172.15.0.1", "172.32.0.1", "2001:4860:4860::8888", "2a00:1450::1", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_needs_the_setting(address: str) -> None:
    """What is not of the public Internet is refused, also where it hides in an IPv6 address."""
    assert refusal(ip_address(address))
    assert refusal(ip_address(address), allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
def test_no_setting_allows_what_is_no_host(address: str) -> None:
    """Multicast and "any" address."""
    assert refusal(ip_address(address))
    assert refusal(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    """NAT64 of a public address too: it is the only way for a host without IPv4."""
    assert refusal(ip_address(address)) == ""


@given(st.ip_addresses(v=4, network=IPv4Network("10.0.0.0/8")), st.sampled_from([96, 80, 112, 64, 0]))
def test_no_place_in_an_ipv6_address_hides_a_private_one(inner: IPv4Address, bits: int) -> None:
    """Every well-known prefix that carries IPv4 addresses is known."""
    prefixes = [0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80]
    for prefix in prefixes:
        assert refusal(IPv6Address(prefix | int(inner)))
    assert refusal(IPv6Address(0x2002 << 112 | int(inner) << 80 | bits))


def test_those_that_may_be_reached_are_given() -> None:
    """The others are left out; the order stays."""
    addresses = [ip_address(text) for text in ("2a00:1450::1", "10.0.0.1", "8.8.8.8")]

    assert reachable(addresses) == (addresses[0], addresses[2])
    assert reachable(addresses, allow_private=True) == tuple(addresses)


def test_a_host_that_is_private_alone_is_refused() -> None:
    """The error names each address, why, and the setting."""
    with pytest.raises(LookUpFailed) as failure:
        reachable([ip_address("10.0.0.1"), ip_address("::1")])

    assert str(failure.value) == (
        "the host is not connected to: 10.0.0.1 (private), ::1 (loopback);"
        " `dns.allow_private` allows private addresses"
    )


def test_a_host_without_addresses_is_a_failure() -> None:
    """There is nothing to connect to."""
    with pytest.raises(LookUpFailed, match="has no address"):
        reachable([])
