"""MTA-STS texts are read by RFC 8461, or refused with the place that is wrong."""

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatepost.transport.mta_sts import (
    MAX_AGE,
    MAX_SIZE,
    StsError,
    StsPolicy,
    matches,
    policy_line,
    read_policy,
    read_records,
)

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
PATTERNS = st.tuples(st.sampled_from(["", "*."]), HOSTS).map("".join)
GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mx1.p.test\r\nmx: *.Out.p.test\r\nmax_age: 604800\r\n"


def policy(**changed: str) -> bytes:
    """Give a good policy file, some fields changed; an empty value leaves the line out."""
    fields = {"version": "STSv1", "mode": "enforce", "mx": "mx.p.test", "max_age": "86400"} | changed
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value).encode()


def test_good_policy() -> None:
    """Version, mode, patterns in lower case and age are read."""
    assert read_policy(GOOD) == StsPolicy("enforce", ("mx1.p.test", "*.out.p.test"), 604800)


@pytest.mark.parametrize(
    "file",
    [
        GOOD.replace(b"\r\n", b"\n"),
        GOOD.replace(b"\r\n", b" \t\r\n"),
        GOOD.replace(b": ", b":"),
        GOOD.replace(b": ", b":\t  "),
        GOOD.removesuffix(b"\r\n"),
        GOOD + b"\r\n\n  \n",
        GOOD + "later_field: \N{SNOWMAN} x\r\n".encode(),
        GOOD + b"mode: none\r\nversion: STSv2\r\nmax_age: x\r\nmx: mx1.p.test\r\n",
        b"x.y-z_1:1\n" + GOOD,
    ],
)
def test_forms_of_the_same_policy(file: bytes) -> None:
    """LF or CRLF, blanks, a missing last line end, unknown fields and repeated ones change nothing."""
    assert read_policy(file) == read_policy(GOOD)


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        (b"", "the policy file has no version line"),
        (policy(version=""), "the policy file has no version line"),
        (policy(version="STSv2"), "line 1 of the policy file: version is not STSv1"),
        (policy(version="stsv1"), "line 1 of the policy file: version is not STSv1"),
        (policy(mode=""), "the policy file has no mode line"),
        (policy(mode="Enforce"), "line 2 of the policy file: mode is not enforce, testing or none"),
        (policy(mx=""), "mode enforce without any mx line"),
        (policy(mx="", mode="testing"), "mode testing without any mx line"),
        (policy(max_age=""), "the policy file has no max_age line"),
        (policy(max_age="-1"), "line 4 of the policy file: max_age is not a number of seconds"),
        (policy(max_age="+1"), "line 4 of the policy file: max_age is not a number of seconds"),
        (policy(max_age="1_0"), "line 4 of the policy file: max_age is not a number of seconds"),
        (policy(max_age="\N{ARABIC-INDIC DIGIT ONE}"), "line 4 of the policy file: max_age"),
        (policy(max_age=str(MAX_AGE + 1)), "line 4 of the policy file: max_age is not a number of seconds"),
        (policy(max_age="9" * 5000), "line 4 of the policy file: max_age is not a number of seconds"),
        (b"<html>\n" + GOOD, "line 1 of the policy file is not NAME: VALUE"),
        (GOOD + b" mx: y.test\n", "line 6 of the policy file is not NAME: VALUE"),
        (GOOD + b"mx : y.test\n", "line 6 of the policy file is not NAME: VALUE"),
        (b"\xef\xbb\xbf" + GOOD, "line 1 of the policy file is not NAME: VALUE"),
        (GOOD + b"a: \xff\n", "line 6 of the policy file is not UTF-8"),
        (GOOD.replace(b"\r\n", b"\r"), "line 1 of the policy file has a control character"),
        (GOOD + b"x: \0\n", "line 6 of the policy file has a control character"),
        (GOOD + b"x: \x7f\n", "line 6 of the policy file has a control character"),
        (GOOD + b"x" * MAX_SIZE, f"the policy file is longer than {MAX_SIZE} octets"),
    ],
)
def test_bad_policies(file: bytes, fault: str) -> None:
    """A file that breaks a rule is no policy, and the fault tells its line."""
    with pytest.raises(StsError, match=f"^{re.escape(fault)}"):
        read_policy(file)


@pytest.mark.parametrize(
    "pattern",
    [
        "hostname",
        "nexthop",
        "*",
        "*.",
        "*.*.p.test",
        "*x.p.test",
        "m*.p.test",
        ".p.test",
        "mx.p.test.",
        "mx..p.test",
        "-mx.p.test",
        "mx.p.test:dot-nexthop",
        "mx.p.test servername=x",
        "[192.0.2.1]",
        "m\N{LATIN SMALL LETTER U WITH DIAERESIS}x.p.test",
        "\N{KELVIN SIGN}x.p.test",
        "a" * 64 + ".test",
        ".".join(["a" * 63] * 4),
    ],
)
def test_bad_patterns(pattern: str) -> None:
    """What is no host name never becomes part of a line for Postfix."""
    with pytest.raises(StsError, match="line 3 of the policy file: mx is not like"):
        read_policy(policy(mx=pattern))
    assert not matches(pattern, pattern)


def test_mode_none_needs_no_hosts() -> None:
    """A domain that withdraws its policy need not name hosts; the longest and the shortest age are allowed."""
    assert read_policy(policy(mode="none", mx="", max_age=str(MAX_AGE))) == StsPolicy("none", (), MAX_AGE)
    assert read_policy(policy(max_age="0")).max_age == 0
    assert MAX_AGE == 31_557_600


def test_the_longest_file() -> None:
    """A file of 64 KiB is read."""
    assert MAX_SIZE == 65_536
    assert read_policy(GOOD + b"x:" + b"y" * (MAX_SIZE - len(GOOD) - 2)) == read_policy(GOOD)


@pytest.mark.parametrize(
    ("records", "identity"),
    [
        ([], None),
        ([b"v=spf1 -all", b"v=STSv10; id=1;", b"v=STSv1", b" v=STSv1; id=1", b"V=STSv1; id=1"], None),
        ([b"v=STSv1; id=20240101000000Z;"], "20240101000000Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1 \t; \t id=1 ; x.y-z_=!~\\:; id=2; "], "1"),
        ([b"x", b"v=STSv1; a=b; id=" + b"9" * 32], "9" * 32),
        ([b"v=STSv1; id=1; token=ab==;"], "1"),
    ],
)
def test_records(records: list[bytes], identity: str | None) -> None:
    """The one record that begins with the version gives the id; extensions are passed over."""
    assert read_records(records) == identity


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([b"v=STSv1; id=1;", b"v=STSv1; id=1;"], "2 records begin with v=STSv1"),
        ([b"v=STSv1;"], "the record has no id"),
        ([b"v=STSv1; ID=1"], "the record has no id"),
        ([b"v=STSv1; id=" + b"9" * 33], "the record's id is not 1 to 32 letters and digits"),
        ([b"v=STSv1; id=a-b"], "the record's id is not 1 to 32 letters and digits"),
        ([b"v=STSv1; id=a-b; id=1"], "the record's id is not 1 to 32 letters and digits"),
        ([b"v=STSv1; id=1; ;"], "field 3 of the record is not NAME=VALUE"),
        ([b"v=STSv1; id=1; x"], "field 3 of the record is not NAME=VALUE"),
        ([b"v=STSv1; id=1?"], "the record's id is not 1 to 32 letters and digits"),
        ([b"v=STSv1; id=1; ?"], "field 3 of the record is not NAME=VALUE"),
        ([b"v=STSv1; id="], "field 2 of the record is not NAME=VALUE"),
        ([b"v=STSv1; id =1"], "field 2 of the record is not NAME=VALUE"),
        ([b"v=STSv1; id=1; x=a b"], "field 3 of the record is not NAME=VALUE"),
        ([b"v=STSv1; id=\xc3\xa4"], "the record is not ASCII"),
    ],
)
def test_bad_records(records: list[bytes], fault: str) -> None:
    """Several records, and one that breaks the grammar, are no policy; the fault says why."""
    with pytest.raises(StsError, match=f"^{re.escape(fault)}"):
        read_records(records)


@pytest.mark.parametrize(
    ("host", "pattern", "expected"),
    [
        ("mail.example.com", "*.example.com", True),
        ("example.com", "*.example.com", False),
        ("foo.bar.example.com", "*.example.com", False),
        ("MAIL.example.com", "mail.Example.com", True),
        ("mail.example.com", "mail.example.com.evil.test", False),
        ("mail.example.com.evil.test", "mail.example.com", False),
        ("mailxexample.com", "mail.example.com", False),
        ("hostname", "hostname", False),
        ("", "*.example.com", False),
        (".example.com", "*.example.com", False),
        ("a b.example.com", "*.example.com", False),
        ("a:nexthop.example.com", "*.example.com", False),
    ],
)
def test_matches(host: str, pattern: str, expected: bool) -> None:
    """The star stands for exactly the left-most label; a host that no line can name safely matches nothing."""
    assert matches(host, pattern) is expected


@given(HOSTS, PATTERNS)
@example("a.b.c", "*.b.c")
def test_matches_is_label_by_label(host: str, pattern: str) -> None:
    """A host matches if it has as many labels as the pattern, each the same or under the star."""
    ours, theirs = host.split("."), pattern.split(".")
    same = len(ours) == len(theirs) and all(a in {b, "*"} for a, b in zip(theirs, ours, strict=True))
    assert matches(host, pattern) is same


@given(
    st.sampled_from(["enforce", "testing", "none"]),
    st.lists(PATTERNS, min_size=1, max_size=6, unique=True),
    st.integers(0, MAX_AGE),
    st.sampled_from(["\n", "\r\n"]),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read(mode: str, mx: list[str], age: int, end: str, chance: object) -> None:
    """A policy is read whatever the order of its lines."""
    lines = ["version: STSv1", f"mode: {mode}", f"max_age: {age}", *(f"mx: {pattern}" for pattern in mx)]
    chance.shuffle(lines)  # type: ignore[attr-defined]
    read = read_policy(end.join(lines).encode())
    assert (read.mode, set(read.mx), read.max_age) == (mode, set(mx), age)


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from([*GOOD.splitlines(), b"mx:", b":", b"\xff", b"*."])).map(b"\n".join)
)
def test_any_octets(file: bytes) -> None:
    """Whatever a host sends is a policy within bounds, or StsError."""
    with contextlib.suppress(StsError):
        read = read_policy(file)
        assert 0 <= read.max_age <= MAX_AGE
        assert read.mx or read.mode == "none"
        assert all(re.fullmatch(r"[a-z0-9_*.-]+", pattern) for pattern in read.mx)


@given(st.lists(st.binary(max_size=80) | st.binary(max_size=60).map(b"v=STSv1; id=".__add__), max_size=3))
def test_any_records(records: list[bytes]) -> None:
    """Whatever DNS holds is no record, one with an id of letters and digits, or StsError."""
    with contextlib.suppress(StsError):
        identity = read_records(records)
        assert identity is None or re.fullmatch(r"[A-Za-z0-9]{1,32}", identity)


def test_hosts_that_the_policy_allows() -> None:
    """Only hosts that a pattern names go into the line, in their order; Postfix must show each its own name."""
    read = read_policy(GOOD)
    hosts = read.allowed(["x.out.p.test", "a.x.out.p.test", "mx2.p.test", "mx1.p.test"])
    assert hosts == ("x.out.p.test", "mx1.p.test")
    assert policy_line(hosts) == "secure match=x.out.p.test:mx1.p.test servername=hostname"
