"""A next hop as Postfix names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.transport import hop as hops
from gatepost.transport.hop import Hop


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("Example.ORG", Hop("example.org", port=25)),
        ("example.org.", Hop("example.org", port=25)),
        ("example.org:587", Hop("example.org", port=587)),
        ("münchen.example", Hop("xn--mnchen-3ya.example", port=25)),
        ("faß.example", Hop("xn--fa-hia.example", port=25)),
        ("a_b.example", Hop("a_b.example", port=25)),
        ("example.org:1", Hop("example.org", port=1)),
        ("example.org:65535", Hop("example.org", port=65_535)),
        (f"{'a.' * 125}bcd", Hop(f"{'a.' * 125}bcd")),
        ("[mx.example.org]", Hop("mx.example.org", direct=True, port=25)),
        ("[MX.example.org]:2525", Hop("mx.example.org", direct=True, port=2525)),
        ("[192.0.2.1]", Hop("192.0.2.1", direct=True, port=25)),
        ("[192.0.2.1]:24", Hop("192.0.2.1", direct=True, port=24)),
        ("[2001:DB8::1]:26", Hop("2001:db8::1", direct=True, port=26)),
        ("[IPv6:2001:db8::1]", Hop("2001:db8::1", direct=True, port=25)),
    ],
)
def test_a_next_hop_is_read_as_postfix_names_it(text: str, hop: Hop) -> None:
    """With brackets it is the host itself, without them a domain; a port may follow; names become A-labels."""
    assert hops.read(text) == hop


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
        f"{'a.' * 125}bcde",
        "x\u2028.example",
        "münchen_.example",
    ],
)
def test_what_is_no_next_hop_is_refused(text: str) -> None:
    """A text that Postfix could not deliver to is an error that quotes it."""
    with pytest.raises(ValueError, match=r"not a|holds no|names no"):
        hops.read(text)


def test_a_name_that_idna_does_not_allow_is_told_with_its_reason() -> None:
    """UTS 46 names the character."""
    with pytest.raises(ValueError, match=r"^'m\u00fcnchen_\.example' is not a domain name: Codepoint"):
        hops.read("m\u00fcnchen_.example")


@given(st.text(max_size=300))
def test_any_text_is_a_next_hop_or_a_value_error(text: str) -> None:
    """Reading gives a host that can be asked for, or a ValueError."""
    try:
        hop = hops.read(text)
    except ValueError:
        return
    assert hop.is_address or hops.is_host(hop.name)
    assert 0 < hop.port < 65_536


@pytest.mark.parametrize(
    ("text", "is_address"),
    [("[192.0.2.1]", True), ("[IPv6:::1]", True), ("[mx.example.org]", False), ("example.org", False)],
)
def test_an_address_is_told_from_a_name(text: str, *, is_address: bool) -> None:
    """Nothing is published about addresses."""
    assert hops.read(text).is_address is is_address


def test_a_domain_that_is_spelled_like_an_address_is_none() -> None:
    """Only brackets make it one."""
    assert Hop("192.0.2.1").is_address is False


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Example.ORG.", "example.org"),
        ("example.org:25", "example.org:25"),
        ("[MX.example.org]", "[mx.example.org]"),
        ("[mx.example.org]:2525", "[mx.example.org]:2525"),
        ("München.example:26", "xn--mnchen-3ya.example:26"),
        ("[IPv6:2001:DB8::1]:26", "[ipv6:2001:db8::1]:26"),
    ],
)
def test_a_next_hop_has_one_spelling(text: str, normal: str) -> None:
    """Tables and caches are asked for it; its port stays as given, since Postfix asks for it so."""
    assert hops.normal(text) == normal
