"""What Postfix needs to report on TLS stands behind an MTA-STS line, and nothing else ever does."""

import asyncio
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import StorageError
from gatepost.transport.kept_policies import KeptPolicy
from gatepost.transport.mta_sts import StsPolicy
from gatepost.transport.tlsrpt import PolicyReports, attributes

TEXT = "version: STSv1\nmode: enforce\nmx: mx1.p.test\nmx: *.p.test\nmax_age: 86400\nnote: } match=evil.test {\n"
EXPECTED = (
    "policy_type=sts policy_domain=p.test { policy_string = version: STSv1 } { policy_string = mode: enforce } "
    "{ policy_string = mx: mx1.p.test } { policy_string = mx: *.p.test } { policy_string = max_age: 86400 } "
    "mx_host_pattern=mx1.p.test mx_host_pattern=*.p.test"
)


class Kept:
    """Keeps one policy; None: none, an error: it cannot be read."""

    def __init__(self, text: str | Exception | None) -> None:
        self._text = text

    def get(self, domain: str) -> KeptPolicy | None:
        assert domain == "p.test"
        if isinstance(self._text, Exception):
            raise self._text
        return KeptPolicy(domain, "1", self._text, datetime.now(UTC), 86400) if self._text else None

    def put(self, policy: KeptPolicy) -> None:
        raise NotImplementedError


def asked(text: str | Exception | None, hop: str = "p.test") -> str:
    return asyncio.run(PolicyReports(Kept(text)).attributes(hop))


def test_policy_as_attributes() -> None:
    """Each field that was read stands in braces, each pattern for itself; what nobody reads is left out."""
    assert asked(TEXT) == EXPECTED
    assert asked(TEXT, "P.test:25") == EXPECTED


@pytest.mark.parametrize(
    "text",
    [
        None,
        StorageError("down"),
        "nonsense",
        TEXT.replace("enforce", "testing"),
        TEXT + "".join(f"mx: mx{number}.p.test\n" for number in range(1000)),
        "\udcff",
    ],
)
def test_without_policy_nothing(text: str | Exception | None) -> None:
    """Where there is no policy to report on, the line goes as it is."""
    assert asked(text) == ""


def test_next_hop_that_is_none() -> None:
    """What is no next hop has nothing to report."""
    assert asked(TEXT, "[]") == ""


HOSTS = st.lists(st.from_regex(r"(\*\.)?[a-z0-9_-]{1,10}\.[a-z]{1,5}", fullmatch=True), min_size=1, max_size=5)


@given(mx=HOSTS, age=st.integers(0, 31_557_600))
def test_only_known_attributes(mx: list[str], age: int) -> None:
    """Whatever a policy names, the words are those that Postfix knows, and braces pair."""
    text = attributes("p.test", StsPolicy("enforce", tuple(mx), age))
    rest = re.sub(r"\{ policy_string = [a-zA-Z0-9_]+: [^{} ]+ \}", "", text)
    assert "{" not in rest
    assert "}" not in rest
    names = [word.partition("=")[0] for word in rest.split()]
    assert names == ["policy_type", "policy_domain", *["mx_host_pattern"] * len(mx)]
