"""Lines of smtp_tls_policy_maps: what a row demands, and the one line that keeps several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.directory.partner import Partner
from gatepost.transport import dane, mta_sts, policy_line
from gatepost.transport.policy_line import DANE_ONLY, PolicyLine, joined

HOP = "p.test"
DIGESTS = tuple(":".join([digit * 2] * 32) for digit in "ABC")
NAMES = (
    "p.test",
    "mx.p.test",
    "a.mx.p.test",
    "other.test",
    "nexthop",
    "dot-nexthop",
    ".p.test",
    ".test",
    ".mx.p.test",
)
BORNE = ("p.test", "mx.p.test", "a.mx.p.test", "b.a.mx.p.test", "x.p.test", "other.test", "x.test")

lines = st.one_of(
    st.just(DANE_ONLY),
    st.builds(
        PolicyLine,
        st.just("secure"),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple),
        st.sampled_from(("", "/ca.pem", "/other.pem")),
    ),
    st.builds(
        PolicyLine,
        st.just("fingerprint"),
        st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=3, unique=True).map(tuple),
    ),
)


def accepts(line: PolicyLine, name: str, *, deep: bool) -> bool:
    """Tell whether a trusted certificate for a name, as Postfix compares it, is enough for a line."""
    if line.level == "dane-only":
        return False
    if line.level == "fingerprint":
        return name in line.match
    words = {"nexthop": HOP, "dot-nexthop": f".{HOP}"}
    for one in (words.get(word, word) for word in line.match):
        below = name.removesuffix(one) if one.startswith(".") and name.endswith(one) else ""
        if one == name or (below and (deep or "." not in below)):
            return True
    return False


@given(st.lists(lines, min_size=1, max_size=4), st.sampled_from((*BORNE, *DIGESTS)), st.booleans())
def test_joined_is_never_weaker(several: list[PolicyLine], shown: str, deep: bool) -> None:
    """
    What satisfies the joined line satisfies every line that it stands for.

    So it is whether `.domain` means one label or many (tls_wildcard_matches_multiple_labels).
    """
    line = joined(several, HOP)
    if line is None:
        return
    assert {line.level} == {one.level for one in several}
    assert {line.authorities} == {one.authorities for one in several}
    assert line.match or line == DANE_ONLY
    if accepts(line, shown, deep=deep):
        assert all(accepts(one, shown, deep=deep) for one in several)


@given(lines, st.integers(1, 3))
def test_a_line_joins_with_itself(line: PolicyLine, times: int) -> None:
    """Rows that demand the same need no joining: the line stays to the letter."""
    assert joined([line] * times, HOP) == line


@given(lines)
def test_a_line_is_read_back(line: PolicyLine) -> None:
    """What is written as text is read as the same line."""
    assert policy_line.read(line.text) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "may",
        "none",
        "encrypt",
        "secure",
        "fingerprint",
        "dane",
        "dane-only match=x",
        "secure match=x",
        "secure servername=hostname match=x",
        "secure match=x servername=hostname ",
        "secure match=x servername=hostname protocols=SSLv3",
        "secure  match=x servername=hostname",
        "verify match=x servername=hostname",
    ],
)
def test_other_lines_are_not_read(text: str) -> None:
    """A line that is weaker, or that holds what is not known here, is none."""
    assert policy_line.read(text) is None


def verify(*names: str, authorities: str = "") -> PolicyLine:
    return PolicyLine("secure", names, authorities)


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ([verify("a.test", "b.test"), verify("b.test", "c.test")], verify("b.test")),
        ([verify("nexthop", "dot-nexthop"), verify("mx.p.test")], verify("mx.p.test")),
        ([verify("nexthop", "dot-nexthop"), verify("p.test", "x.test")], verify("p.test")),
        ([verify(".p.test"), verify("nexthop", "dot-nexthop")], verify(".p.test")),
        ([verify("MX.p.test"), verify("mx.P.test", "b.test")], verify("mx.p.test")),
        ([verify("a.b.p.test"), verify(".p.test")], None),
        ([verify("mailhost"), verify(".")], None),
        ([verify("a.test"), verify("b.test")], None),
        ([verify("a.test"), verify("a.test", authorities="/ca.pem")], None),
        ([verify("a.test"), PolicyLine("fingerprint", DIGESTS[:1])], None),
        ([verify("a.test"), DANE_ONLY], None),
        ([PolicyLine("fingerprint", DIGESTS[:2]), PolicyLine("fingerprint", DIGESTS[1:])],
         PolicyLine("fingerprint", DIGESTS[1:2])),
    ],
)  # fmt: skip
def test_joined(several: list[PolicyLine], expected: PolicyLine | None) -> None:
    """Names in common, under the same authorities, at one level; else there is no line, in any order."""
    assert joined(several, f"{HOP}:25") == expected
    assert joined(several[::-1], HOP) == expected


@pytest.mark.parametrize("name", ["hostname", "nexthop", "dot-nexthop", "Hostname", "a:b", "a b", "a=b", "a,b"])
def test_a_word_of_postfix_is_no_name(name: str) -> None:
    """A name in the row that Postfix would read as something else is refused, and the row is named."""
    with pytest.raises(ValueError, match=r"row p\.test holds a tls_name"):
        policy_line.of_partner(Partner("p.test", tls="verify", tls_name=name))


@pytest.mark.parametrize("path", ["ca.pem", "/a b", "/a,b", "/{a}", "/a\n"])
def test_an_authority_is_a_path(path: str) -> None:
    """A path that Postfix would read as something else is refused, and the row is named."""
    with pytest.raises(ValueError, match=r"row p\.test holds a tls_ca"):
        policy_line.of_partner(Partner("p.test", tls="verify", tls_ca=path))


@pytest.mark.parametrize(
    "tls", ["", "may", "encrypt", "verify ", "dane", "fingerprint:abc", "fingerprint:" + "xy" * 32]
)
def test_what_no_line_expresses(tls: str) -> None:
    """A demand that is no line of its own is refused, and the row is named."""
    with pytest.raises(ValueError, match=r"row p\.test holds an unknown tls value"):
        policy_line.of_partner(Partner("p.test", tls=tls))


def test_what_dane_and_mta_sts_demand_is_read() -> None:
    """The lines that DANE and MTA-STS give are lines as they are read here: so they join, and are kept."""
    hosts = ("mx1.p.test", "mx_2.p.test", "xn--bcher-kva.test")
    assert policy_line.read(dane.POLICY) == DANE_ONLY
    assert policy_line.read(mta_sts.policy_line(hosts)) == verify(*hosts)
