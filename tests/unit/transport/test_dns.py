"""The stub resolver, against a name server of the test's own on loopback."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.nameserver import Answer, NameServer, response
from lab.place import free_port

from gatepost.errors import ConfigError
from gatepost.transport import dns as module
from gatepost.transport.dns import StubResolver
from gatepost.transport.resolver import LookUpFailed, MailHost, Records, Tlsa

PATIENT = 30.0  # seconds: no test that gets its answer waits that long
T = TypeVar("T")
SOA = "example. 400 IN SOA ns.example. admin.example. 1 1 1 1 200"


def ask(
    answer: Callable[[dns.message.Message], dns.message.Message],
    question: Callable[[StubResolver], Coroutine[None, None, T]],
) -> T:
    """Ask a resolver one thing that a server answers."""
    with NameServer(lambda query, _: answer(query).to_wire(max_size=65_535)) as server:
        return asyncio.run(question(StubResolver([server.name], PATIENT)))


def test_mx_records_come_best_first() -> None:
    """Names are in lower case without the final dot; the null MX is empty."""
    records = ask(
        lambda query: response(query, "a.example. 300 IN MX 20 MX2.A.example.", "a.example. 300 IN MX 10 ."),
        lambda resolver: resolver.mx("a.example"),
    )

    assert records == Records(
        "a.example", (MailHost(10, ""), MailHost(20, "mx2.a.example")), secure=False, seconds=300
    )


def test_addresses_are_of_both_kinds() -> None:
    """A and AAAA records are one answer, kept as long as the shorter of both."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        kind = query.question[0].rdtype.name
        record = {"A": "a.example. 300 IN A 192.0.2.1", "AAAA": "a.example. 50 IN AAAA 2001:db8::1"}[kind]
        return response(query, record, vouched=True)

    records = ask(answer, lambda resolver: resolver.addresses("a.example"))

    both = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
    assert records == Records("a.example", both, secure=True, seconds=50)


@pytest.mark.parametrize("vouched", ["A", "AAAA"])
def test_addresses_are_secure_only_if_both_answers_are(vouched: str) -> None:
    """One answer that nobody vouched for could hide a forged address."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        return response(query, authority=(SOA,), vouched=query.question[0].rdtype.name == vouched)

    records = ask(answer, lambda resolver: resolver.addresses("a.example"))

    assert not records.secure


@pytest.mark.parametrize("has", ["A", "AAAA"])
def test_one_kind_of_address_is_enough(has: str) -> None:
    """The name is where that answer's CNAMEs led; who denies the name for the other kind is not believed."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        kind = query.question[0].rdtype.name
        if kind != has:
            return response(query, rcode=dns.rcode.NXDOMAIN, authority=(SOA,))
        address = {"A": "192.0.2.1", "AAAA": "2001:db8::1"}[kind]
        return response(query, "a.example. 300 IN CNAME b.example.", f"b.example. 300 IN {kind} {address}")

    records = ask(answer, lambda resolver: resolver.addresses("a.example"))

    assert (records.name, len(records.values), records.exists) == ("b.example", 1, True)


def test_tlsa_txt_and_cname_records_are_read() -> None:
    """TLSA by its four fields, the strings of a TXT record as one, CNAME as the name that it points to."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        name = query.question[0].name.to_text()
        kind = query.question[0].rdtype.name
        value = {"TLSA": "3 1 1 " + "ab" * 32, "TXT": '"v=STSv1; " "id=1;"', "CNAME": "B.example."}[kind]
        return response(query, f"{name} 60 IN {kind} {value}", vouched=True)

    async def all_three(resolver: StubResolver) -> tuple[object, ...]:
        return (
            (await resolver.tlsa("_25._tcp.mx.example")).values,
            (await resolver.txt("_mta-sts.example")).values,
            (await resolver.alias("a.example")).values,
        )

    assert ask(answer, all_three) == ((Tlsa(3, 1, 1, b"\xab" * 32),), (b"v=STSv1; id=1;",), ("b.example",))


def test_the_question_asks_for_dnssec_and_small_datagrams() -> None:
    """RFC 6840 section 5.7: AD comes back where DO was set; 1232 octets are never fragmented."""
    seen: list[dns.message.Message] = []

    def answer(query: dns.message.Message) -> dns.message.Message:
        seen.append(query)
        return response(query, authority=(SOA,))

    ask(answer, lambda resolver: resolver.txt("a.example"))

    assert seen[0].edns == 0
    assert seen[0].ednsflags & dns.flags.DO
    assert seen[0].payload == 1232
    assert seen[0].flags & dns.flags.RD
    assert not seen[0].flags & dns.flags.CD


@pytest.mark.parametrize("loopback", [True, False])
def test_the_ad_bit_counts_from_loopback_only(monkeypatch: pytest.MonkeyPatch, *, loopback: bool) -> None:
    """Over any network the bit could be forged (RFC 4035 section 4.9.3)."""
    monkeypatch.setattr(module._Server, "loopback", loopback)

    records = ask(
        lambda query: response(query, "a.example. 300 IN MX 1 mx.example.", vouched=True),
        lambda resolver: resolver.mx("a.example"),
    )

    assert records.secure is loopback


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.53", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("192.0.2.1#5353", False),
        ("::ffff:127.0.0.1", False),
        ("2001:db8::1", False),
        ("0.0.0.0", False),  # noqa: S104 - no place to bind to
    ],
)
def test_only_this_hosts_own_addresses_are_loopback(address: str, *, loopback: bool) -> None:
    """127.0.0.0/8 and ::1."""
    assert module._server(address).loopback is loopback


def test_a_resolver_without_port_is_asked_at_the_usual_one() -> None:
    """Names are as the settings give them."""
    assert module._server("192.0.2.1").port == 53
    assert [str(module._server(text)) for text in ("::1", "::1#5353", "::1#53")] == ["::1", "::1#5353", "::1"]


def test_beside_a_loopback_resolver_no_other_is_asked() -> None:
    """While it is down, an answer that nobody vouches for must not pass for "not signed"."""
    resolver = StubResolver(["192.0.2.1", "127.0.0.1#5353", "::1"], 1)

    assert list(map(str, resolver._servers)) == ["127.0.0.1#5353", "::1"]
    assert list(map(str, StubResolver(["192.0.2.1", "192.0.2.2"], 1)._servers)) == ["192.0.2.1", "192.0.2.2"]


def test_a_chain_of_cnames_is_followed() -> None:
    """The name is where they led; the answer is kept as long as the shortest-lived link."""
    records = ask(
        lambda query: response(
            query,
            "a.example. 300 IN CNAME b.example.",
            "b.example. 40 IN CNAME C.example.",
            "c.example. 300 IN MX 1 mx.example.",
        ),
        lambda resolver: resolver.mx("a.example"),
    )

    assert (records.name, records.seconds, records.values) == ("c.example", 40, (MailHost(1, "mx.example"),))


@pytest.mark.parametrize(
    ("authority", "seconds"),
    [
        ((SOA,), 200),
        (("example. 100 IN SOA ns.example. admin.example. 1 1 1 1 9999999",), 100),
        (("example. 9999999 IN SOA ns.example. admin.example. 1 1 1 1 9999999",), 3600),
        ((), 300),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_that_there_is_none_is_an_answer(authority: tuple[str, ...], seconds: int, *, exists: bool) -> None:
    """RFC 2308 section 5: kept for the lesser of the SOA's TTL and minimum, an hour at most."""
    rcode = dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN

    records = ask(
        lambda query: response(query, authority=authority, rcode=rcode, vouched=True),
        lambda resolver: resolver.mx("a.example"),
    )

    assert records == Records("a.example", (), secure=True, seconds=seconds, exists=exists)


def test_an_answer_is_kept_for_a_day_at_most() -> None:
    """A record with a longer life could not be withdrawn."""
    records = ask(
        lambda query: response(query, "a.example. 2000000 IN MX 1 mx.example."),
        lambda resolver: resolver.mx("a.example"),
    )

    assert records.seconds == 86_400


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda query: response(query, rcode=dns.rcode.SERVFAIL),
            "SERVFAIL, which a bogus DNSSEC chain gives too",
        ),
        (lambda query: response(query, rcode=dns.rcode.REFUSED), "REFUSED"),
        (lambda query: response(query, rcode=dns.rcode.FORMERR), "FORMERR"),
        (
            lambda query: response(query, "a.example. 9 IN CNAME b.example.", "b.example. 9 IN CNAME a.example."),
            "CNAMEs without end",
        ),
        (
            lambda query: response(query, "a.example. 9 IN MX 1 mx.example.", rcode=dns.rcode.NXDOMAIN),
            "an answer that cannot be read",
        ),
        (lambda query: response(query, authority=("example. 9 IN NS ns.example.",)), "a referral"),
        (
            lambda query: response(query, *(f"a.example. 9 IN MX 1 mx{number}." for number in range(101))),
            "101 records, more than the 100",
        ),
    ],
    ids=["servfail", "refused", "formerr", "loop", "answer-and-nxdomain", "referral", "flood"],
)
def test_a_failure_is_told_and_never_taken_for_none(
    make: Callable[[dns.message.Message], dns.message.Message], text: str
) -> None:
    """The error names the type, the name, the resolver, and what it said."""
    with pytest.raises(LookUpFailed) as failure:
        ask(make, lambda resolver: resolver.mx("a.example"))

    assert str(failure.value).startswith("MX records of a.example: 127.0.0.1#")
    assert text in str(failure.value)


def test_as_many_records_as_are_read_are_an_answer() -> None:
    """The limit itself is allowed, and so is a life of no seconds."""
    records = ask(
        lambda query: response(query, *(f"a.example. 0 IN MX 1 mx{number}." for number in range(100))),
        lambda resolver: resolver.mx("a.example"),
    )

    assert (len(records.values), records.seconds) == (100, 0)


def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    """What does not fit in a datagram is asked for again."""

    def answer(query: dns.message.Message, by_tcp: bool) -> Answer:
        whole = response(query, *(f"a.example. 9 IN MX 1 mx{number}.example." for number in range(90)))
        if not by_tcp:
            whole.answer.clear()
            whole.flags |= dns.flags.TC
        return whole.to_wire(max_size=65_535)

    with NameServer(answer) as server:
        records = asyncio.run(StubResolver([server.name], PATIENT).mx("a.example"))

    assert len(records.values) == 90
    assert server.asked == ["MX a.example", "MX a.example TCP"]


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\xff" * 300])
def test_garbage_over_tcp_is_a_failure(garbage: bytes) -> None:
    """An answer that cannot be read is none."""

    def answer(query: dns.message.Message, by_tcp: bool) -> Answer:
        cut = response(query)
        cut.flags |= dns.flags.TC
        return garbage if by_tcp else cut.to_wire()

    with NameServer(answer) as server, pytest.raises(LookUpFailed, match="cannot be read"):
        asyncio.run(StubResolver([server.name], PATIENT).mx("a.example"))


def test_a_datagram_that_answers_something_else_is_passed_over() -> None:
    """A forger who cannot guess the question's number changes nothing."""

    def answer(query: dns.message.Message, by_tcp: bool) -> Answer:
        del by_tcp
        forged = response(query, "a.example. 9 IN MX 1 evil.example.")
        forged.id ^= 1
        return forged.to_wire()

    with NameServer(answer) as server, pytest.raises(LookUpFailed, match="no usable answer"):
        asyncio.run(StubResolver([server.name], 0.2).mx("a.example"))


def test_a_silent_resolver_is_a_failure_at_the_deadline() -> None:
    """Nothing waits longer than the deadline."""
    with NameServer(lambda _query, _tcp: None) as server:
        began = time.monotonic()
        with pytest.raises(LookUpFailed, match=r"MX records of a\.example: .*no usable answer"):
            asyncio.run(StubResolver([server.name], 0.2).mx("a.example"))
        with pytest.raises(LookUpFailed, match=r"no usable answer within 1e-09 s"):
            asyncio.run(StubResolver([server.name], 1e-9).mx("a.example"))

    assert time.monotonic() - began < 10


def test_a_lost_question_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datagrams get lost; the deadline leaves room for another try."""
    monkeypatch.setattr(module, "_ROUNDS", 300)  # so that a try is short and the deadline far

    def answer(query: dns.message.Message, by_tcp: bool) -> Answer:
        del by_tcp
        return response(query, "a.example. 9 IN MX 1 mx.").to_wire() if len(server.asked) > 1 else None

    with NameServer(answer) as server:
        records = asyncio.run(StubResolver([server.name], PATIENT).mx("a.example"))

    assert records.values == (MailHost(1, "mx"),)


def test_the_next_resolver_is_asked_where_one_fails() -> None:
    """One says no, one is not there, one answers."""
    with (
        NameServer(lambda query, _: response(query, rcode=dns.rcode.SERVFAIL).to_wire()) as refuses,
        NameServer(lambda query, _: response(query, "a.example. 9 IN MX 1 mx.").to_wire()) as answers,
    ):
        names = [refuses.name, f"127.0.0.1#{free_port()}", answers.name]
        records = asyncio.run(StubResolver(names, PATIENT).mx("a.example"))

    assert records.values == (MailHost(1, "mx"),)
    assert refuses.asked == ["MX a.example"]


def test_where_all_fail_each_is_told() -> None:
    """The admin sees what each resolver said."""
    nobody = free_port()
    with NameServer(lambda query, _: response(query, rcode=dns.rcode.REFUSED).to_wire()) as refuses:
        resolver = StubResolver([refuses.name, f"127.0.0.1#{nobody}"], PATIENT)
        with pytest.raises(LookUpFailed) as failure:
            asyncio.run(resolver.mx("a.example"))

    expected = f"{refuses.name} gave REFUSED; 127.0.0.1#{nobody} gave no answer (Connection refused)"
    assert str(failure.value) == f"MX records of a.example: {expected}"
    assert refuses.asked == ["MX a.example"]


def test_an_ipv6_resolver_is_asked() -> None:
    """The port goes with either kind of address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("lacks IPv6")
    with NameServer(lambda query, _: response(query, "a.example. 9 IN MX 1 mx.").to_wire(), "::1") as server:
        records = asyncio.run(StubResolver([server.name], PATIENT).mx("a.example"))

    assert records.values == (MailHost(1, "mx"),)


@pytest.mark.parametrize("name", ["a" * 64, "a..b", "\u00fc.example", "a." * 130, "\\"])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    """The error says so; no resolver is troubled."""
    with pytest.raises(LookUpFailed, match="this is no domain name"):
        asyncio.run(StubResolver(["127.0.0.1#1"], PATIENT).mx(name))


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1#", "127.0.0.1#x", "127.0.0.0/8", "192.0.2.1:53"])
def test_a_resolver_that_is_no_address_is_a_fault_of_the_settings(text: str) -> None:
    """It is told with the setting's name."""
    with pytest.raises(ConfigError, match=r"dns\.resolvers"):
        StubResolver([text], 1)


@pytest.mark.parametrize(
    ("resolv_conf", "servers"),
    [
        ("nameserver 127.0.0.53\noptions edns0 trust-ad\n", ["127.0.0.53"]),
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ["192.0.2.1", "2001:db8::1"]),
        ("search example.org\n", ["127.0.0.1"]),
        (None, ["127.0.0.1"]),
    ],
)
def test_the_systems_resolvers_are_those_of_resolv_conf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolv_conf: str | None, servers: list[str]
) -> None:
    """Without one the host's own is asked, as resolv.conf(5) says."""
    file = tmp_path / "resolv.conf"
    if resolv_conf is not None:
        file.write_text(resolv_conf)
    system = dns.resolver.Resolver
    monkeypatch.setattr(dns.resolver, "Resolver", lambda: system(filename=str(file)))

    assert list(map(str, StubResolver([], 1)._servers)) == servers


class _Hostile:
    """A server whose answer changes while it runs: starting one for each example would take long."""

    answer = b""

    def __call__(self, query: dns.message.Message, by_tcp: bool) -> Answer:
        if by_tcp:
            return query.to_wire()[:2] + self.answer
        cut = response(query)
        cut.flags |= dns.flags.TC
        return cut.to_wire()


def test_no_answer_breaks_the_resolver() -> None:
    """Whatever octets come, the outcome is records or LookUpFailed."""
    hostile = _Hostile()
    question = b"\1a\7example\0\0\x0f\0\1"
    name = st.one_of(st.just(b"\xc0\x0c"), st.just(b"\0"), st.binary(max_size=20).map(lambda raw: b"\x05" + raw))
    record = st.builds(
        lambda owner, kind, ttl, data: owner + kind + b"\0\1" + ttl + len(data).to_bytes(2, "big") + data,
        name,
        st.sampled_from([b"\0\x0f", b"\0\x05", b"\0\x06", b"\0\x29", b"\0\x2e"]),
        st.binary(min_size=4, max_size=4),
        st.one_of(st.binary(max_size=40), name.map(lambda raw: b"\0\1" + raw)),
    )
    flags = st.sampled_from([b"\x81\x80", b"\x81\xa0", b"\x81\x83", b"\x81\x82"])
    answers = st.builds(
        lambda bits, records: (
            bits + b"\0\1" + len(records).to_bytes(2, "big") + b"\0" * 4 + question + b"".join(records)
        ),
        flags,
        st.lists(record, max_size=4),
    )

    with NameServer(hostile) as server:

        @given(st.one_of(answers, st.binary(max_size=100)))
        def outcome(answer: bytes) -> None:
            hostile.answer = answer
            try:
                records = asyncio.run(StubResolver([server.name], PATIENT).mx("a.example"))
            except LookUpFailed:
                return
            assert 0 <= records.seconds <= 86_400
            assert all(isinstance(host, MailHost) for host in records.values)

        outcome()
