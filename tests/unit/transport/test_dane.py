"""DANE for SMTP, host by host."""

import asyncio
import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_resolver import FakeResolver

from gatepost.transport import hop as hops
from gatepost.transport.capability import Method
from gatepost.transport.dane import fault, judge
from gatepost.transport.discovery import Finding, MailHosts
from gatepost.transport.resolver import Tlsa

GOOD = Tlsa(3, 1, 1, b"\1" * 32)
PKIX = Tlsa(1, 1, 1, b"\1" * 32)
A, B = "a.example.org", "b.example.org"


@pytest.fixture
def resolver() -> FakeResolver:
    """Two hosts with usable records in a validated zone."""
    fake = FakeResolver()
    for number, host in enumerate((A, B)):
        fake.has_addresses(host, f"192.0.2.{number}")
        fake.has_tlsa(f"_25._tcp.{host}", GOOD)
    return fake


def found(resolver: FakeResolver, *names: str, hop: str = "example.org", secure: bool = True) -> Finding:
    hosts = MailHosts(names or (A, B), secure=secure, seconds=1000)
    return asyncio.run(judge(resolver, hops.read(hop), hosts))


def certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def test_dane_assures_where_every_host_has_a_usable_record(resolver: FakeResolver) -> None:
    """The policy is Postfix's level; each host is told."""
    answer = found(resolver)

    steps = tuple(f"DANE: {host}: 1 usable of 1 TLSA records at _25._tcp.{host}" for host in (A, B))
    assert answer == Finding(Method(assured=True, policy="dane-only", steps=steps), 300)


def test_the_hops_port_is_asked_for(resolver: FakeResolver) -> None:
    """RFC 7672 section 2.2.3: the name begins with the port that is connected to."""
    resolver.has_tlsa(f"_2525._tcp.{A}", GOOD)

    assert found(resolver, A, hop=f"[{A}]:2525").method.assured
    assert not found(resolver, B, hop=f"[{B}]:2525").method.assured


def test_hosts_that_nobody_vouches_for_are_asked_nothing(resolver: FakeResolver) -> None:
    """RFC 7672 section 2.2.1: a forged MX record could name any host that has TLSA records."""
    answer = found(resolver, secure=False)

    assert not answer.method.assured
    assert not answer.method.unknown
    assert "mail hosts are not validated" in answer.method.steps[0]
    assert resolver.asked == []


def test_one_host_without_records_is_enough_to_assure_nothing(resolver: FakeResolver) -> None:
    """Whoever can silence the others gets the mail."""
    resolver.has_tlsa(f"_25._tcp.{B}")

    method = found(resolver).method

    assert method == Method(
        assured=False,
        steps=(
            f"DANE: {A}: 1 usable of 1 TLSA records at _25._tcp.{A}",
            f"DANE: {B}: no TLSA records that are validated by DNSSEC at _25._tcp.{B}",
        ),
    )


def test_records_that_nobody_vouches_for_are_none(resolver: FakeResolver) -> None:
    """RFC 7672 section 2.2.1: only validated TLSA records are used."""
    resolver.has_tlsa(f"_25._tcp.{B}", GOOD, secure=False)

    assert not found(resolver).method.assured


def test_a_host_in_a_zone_that_is_not_signed_is_asked_nothing_more(resolver: FakeResolver) -> None:
    """RFC 7672 section 2.2.2; many servers of such zones fail on TLSA, which would look like an attack."""
    resolver.has_addresses(B, "192.0.2.1", secure=False)

    method = found(resolver).method

    assert not method.assured
    assert not method.unknown
    assert "its addresses are not validated" in method.steps[1]
    assert f"TLSA _25._tcp.{B}" not in resolver.asked


@pytest.mark.parametrize("question", [f"addresses {B}", f"TLSA _25._tcp.{B}"])
@pytest.mark.parametrize("other", [True, False])
def test_a_failed_look_up_makes_it_unknown(resolver: FakeResolver, question: str, *, other: bool) -> None:
    """RFC 7672 section 2.1.1: an attacker who can only suppress answers must not look like "none"."""
    resolver.fails(*question.split(" "))
    if not other:
        resolver.has_tlsa(f"_25._tcp.{A}")

    answer = found(resolver)
    method = answer.method

    assert (method.assured, method.unknown, method.policy) == (False, True, "")
    assert answer.seconds == 0
    assert method.steps[1].startswith(f"DANE: {B}: unknown: ")
    assert "SERVFAIL" in method.steps[1]


def test_a_validated_alias_is_asked_at_its_end_first(resolver: FakeResolver) -> None:
    """RFC 7672 section 2.2.2: the expanded name, then the original one."""
    resolver.has_addresses("alias.example.org", "192.0.2.1", alias_of="end.example.net")
    resolver.has_tlsa("_25._tcp.end.example.net", GOOD)

    assert found(resolver, "alias.example.org").method.assured
    assert "TLSA _25._tcp.alias.example.org" not in resolver.asked

    resolver.has_tlsa("_25._tcp.end.example.net")
    assert not found(resolver, "alias.example.org").method.assured

    resolver.has_tlsa("_25._tcp.alias.example.org", GOOD)
    assert found(resolver, "alias.example.org").method.assured


def test_an_alias_whose_end_cannot_be_asked_is_not_asked_at_its_own_name(resolver: FakeResolver) -> None:
    """A failure at the first name is no licence to use the second."""
    resolver.has_addresses("alias.example.org", "192.0.2.1", alias_of="end.example.net")
    resolver.fails("TLSA", "_25._tcp.end.example.net")
    resolver.has_tlsa("_25._tcp.alias.example.org", GOOD)

    assert found(resolver, "alias.example.org").method.unknown


@pytest.mark.parametrize("secure", [True, False])
def test_an_alias_that_leaves_the_signed_world_is_asked_at_its_own_name(
    resolver: FakeResolver, *, secure: bool
) -> None:
    """RFC 7672 section 2.2.2: where the alias itself is validated, records at its own name count."""
    resolver.has_addresses("alias.example.org", "192.0.2.1", alias_of="end.example.net", secure=False)
    resolver.has("CNAME", "alias.example.org", ["end.example.net"], secure=secure)
    resolver.has_tlsa("_25._tcp.alias.example.org", GOOD)
    resolver.has_tlsa("_25._tcp.end.example.net", GOOD)

    assert found(resolver, "alias.example.org").method.assured is secure
    assert "TLSA _25._tcp.end.example.net" not in resolver.asked


def test_an_alias_that_cannot_be_asked_is_unknown(resolver: FakeResolver) -> None:
    """Whether it is validated decides, and cannot be said."""
    resolver.has_addresses("alias.example.org", "192.0.2.1", alias_of="end.example.net", secure=False)
    resolver.fails("CNAME", "alias.example.org")

    assert found(resolver, "alias.example.org").method.unknown


def test_a_host_without_address_takes_no_mail_and_stands_in_nobodys_way(resolver: FakeResolver) -> None:
    """Postfix passes it over; where no host has an address, nothing is assured."""
    resolver.has_addresses(B)

    assert found(resolver).method.assured
    assert "b.example.org has no address" in found(resolver).method.steps[1]
    assert not found(resolver, B).method.assured


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_mail_host_that_is_an_address_cannot_be_told_apart(resolver: FakeResolver, address: str) -> None:
    """Nothing can be published about it, so nothing is asked, and nothing assured."""
    method = found(resolver, A, address).method

    assert (method.assured, method.unknown) == (False, False)
    assert method.steps[1] == f"DANE: {address} is an IP address: it has no TLSA records"
    assert not [question for question in resolver.asked if address in question]


def test_records_that_are_all_unusable_assure_nothing(resolver: FakeResolver) -> None:
    """RFC 7672 section 2.2: TLS without authentication is all that is left."""
    resolver.has_tlsa(f"_25._tcp.{B}", PKIX)

    method = found(resolver).method

    assert (method.assured, method.unknown) == (False, False)
    assert "no TLSA record at _25._tcp.b.example.org is usable" in method.steps[1]
    assert "usage 1 is not for SMTP" in method.steps[1]


def test_one_usable_record_is_enough_and_the_others_are_told(resolver: FakeResolver) -> None:
    """RFC 6698 section 4.1: unusable records are passed over."""
    resolver.has_tlsa(f"_25._tcp.{B}", PKIX, GOOD, PKIX)

    method = found(resolver).method

    assert method.assured
    assert "1 usable of 3 TLSA records" in method.steps[1]
    assert method.steps[1].count("usage 1") == 1


@pytest.mark.parametrize("question", [f"addresses {B}", f"TLSA _25._tcp.{B}"])
def test_the_finding_is_kept_as_long_as_its_shortest_answer(resolver: FakeResolver, question: str) -> None:
    """A record that goes sooner could be another one by then."""
    kind, _, name = question.partition(" ")
    known = resolver.answers[question]
    assert not isinstance(known, Exception)
    resolver.has(kind, name, known.values, seconds=7)

    assert found(resolver).seconds == 7


CERTIFICATE = certificate()
WHOLE = CERTIFICATE.public_bytes(serialization.Encoding.DER)
KEY = CERTIFICATE.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize(
    ("selector", "matching", "data"),
    [(0, 1, b"\0" * 32), (1, 1, b"\0" * 32), (0, 2, b"\0" * 64), (1, 2, b"\0" * 64), (0, 0, WHOLE), (1, 0, KEY)],
    ids=[
        "certificate 256",
        "key 256",
        "certificate 512",
        "key 512",
        "certificate",
        "key",
    ],  # the same in every run
)
def test_a_usable_record(usage: int, selector: int, matching: int, data: bytes) -> None:
    """Usages DANE-TA and DANE-EE, either selector, a digest of its length, or the whole of what is selected."""
    assert fault(Tlsa(usage, selector, matching, data)) == ""


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Tlsa(0, 1, 1, b"\0" * 32), "usage 0"),
        (Tlsa(1, 1, 1, b"\0" * 32), "usage 1"),
        (Tlsa(4, 1, 1, b"\0" * 32), "usage 4"),
        (Tlsa(255, 1, 1, b"\0" * 32), "usage 255"),
        (Tlsa(3, 2, 1, b"\0" * 32), "selector 2"),
        (Tlsa(3, 255, 1, b"\0" * 32), "selector 255"),
        (Tlsa(3, 1, 3, b"\0" * 32), "matching type 3"),
        (Tlsa(3, 1, 255, b"\0" * 32), "matching type 255"),
        (Tlsa(3, 1, 1, b"\0" * 31), "31 octets, not 32"),
        (Tlsa(3, 1, 1, b""), "0 octets, not 32"),
        (Tlsa(3, 1, 2, b"\0" * 32), "32 octets, not 64"),
        (Tlsa(3, 0, 0, b""), "neither a certificate nor a key"),
        (Tlsa(3, 0, 0, KEY), "neither a certificate nor a key"),
        (Tlsa(3, 1, 0, WHOLE), "neither a certificate nor a key"),
        (Tlsa(2, 0, 0, WHOLE[:-1]), "neither a certificate nor a key"),
        (Tlsa(2, 1, 0, KEY + b"\0"), "neither a certificate nor a key"),
    ],
)
def test_an_unusable_record_is_told(record: Tlsa, text: str) -> None:
    """A record that no certificate could match is none."""
    assert text in fault(record)


@given(
    st.builds(
        Tlsa,
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 255),
        st.one_of(st.binary(max_size=100), st.just(WHOLE), st.just(KEY)),
    ),
)
def test_any_record_is_judged(record: Tlsa) -> None:
    """Whatever a stranger publishes, the judgement comes, and only usages 2 and 3 pass."""
    assert fault(record) or record.usage in {2, 3}


@given(st.lists(st.sampled_from(["usable", "none", "unusable", "insecure", "fails", "absent"]), min_size=1))
def test_nothing_but_usable_records_everywhere_assures(hosts: list[str]) -> None:
    """Assured and unknown exclude each other; a failure anywhere makes it unknown."""
    fake = FakeResolver()
    names = [f"mx{number}.example" for number in range(len(hosts))]
    for name, kind in zip(names, hosts, strict=True):
        fake.has_addresses(name, *([] if kind == "absent" else ["192.0.2.1"]), secure=kind != "insecure")
        fake.has_tlsa(f"_25._tcp.{name}", *({"usable": [GOOD], "unusable": [PKIX]}.get(kind, [])))
        if kind == "fails":
            fake.fails("TLSA", f"_25._tcp.{name}")

    method = found(fake, *names).method

    assert method.assured is ({"usable"} <= set(hosts) <= {"usable", "absent"})
    assert method.unknown is ("fails" in hosts)
    assert bool(method.policy) is method.assured
    assert len(method.steps) == len(hosts)
