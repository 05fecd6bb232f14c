"""The TLS policy of a next hop: exactly what the partner rows demand, or the mail waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.directory.partner import Partner
from gatepost.errors import StorageError
from gatepost.message.address import Address
from gatepost.transport.answer import Answer, Found, NotFound, TryAgain
from gatepost.transport.policy import TlsPolicy, no_policy, policy_of, tables

FINGERPRINT = "ab" * 32
COLONED = ":".join(["AB"] * 32)


class Rows:
    """Partner rows by next hop."""

    def __init__(self, *rows: Partner, broken: bool = False) -> None:
        self._rows = rows
        self._broken = broken

    def find(self, address: Address) -> Partner | None:
        raise NotImplementedError

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        assert nexthop == "p.test"
        if self._broken:
            raise StorageError("down")
        return self._rows


def ask(*rows: Partner) -> Answer:
    return TlsPolicy(Rows(*rows))("p.test")


def test_verify_is_secure() -> None:
    """`verify` is Postfix's level secure: the name of the next hop or a subdomain, with SNI."""
    expected = Found("secure match=nexthop:dot-nexthop servername=hostname")
    assert ask(Partner("p.test", tls="verify")) == expected


def test_verify_with_name_and_authority() -> None:
    """A row's own name and CA replace the defaults."""
    row = Partner("p.test", tls="verify", tls_name="mx.p.test", tls_ca="/etc/ca.pem")
    assert ask(row) == Found("secure match=mx.p.test servername=hostname tafile=/etc/ca.pem")


def test_fingerprint() -> None:
    """A fingerprint is compared in the form that Postfix writes."""
    assert ask(Partner("p.test", tls=f"fingerprint:{FINGERPRINT}")) == Found(f"fingerprint match={COLONED}")


@pytest.mark.parametrize("tls", ["dane", "mta-sts", "may", "encrypt", "fingerprint:abc", "verify "])
def test_what_cannot_be_served_defers(tls: str) -> None:
    """A demand that cannot be expressed exactly defers the mail, and the reason names the row."""
    answer = ask(Partner("p.test", tls=tls))
    assert isinstance(answer, TryAgain)
    assert "p.test" in answer.reason


@pytest.mark.parametrize(
    "row",
    [
        Partner("p.test", tls="verify", tls_name="mx.p.test match=evil.test"),
        Partner("p.test", tls="verify", tls_name="a:b"),
        Partner("p.test", tls="verify", tls_ca="/etc/ca.pem match=evil.test"),
        Partner("p.test", tls="verify", tls_ca="ca.pem"),
    ],
)
def test_no_value_adds_attributes(row: Partner) -> None:
    """Nothing in a row can add another attribute to the policy line."""
    assert isinstance(ask(row), TryAgain)


@given(name=st.text(max_size=30), authority=st.text(max_size=30))
def test_only_known_attributes(name: str, authority: str) -> None:
    """Whatever stands in a row, the line holds each known attribute at most once and no other."""
    answer = policy_of(Partner("p.test", tls="verify", tls_name=name, tls_ca=authority))
    if isinstance(answer, Found):
        words = answer.text.split()
        assert words[0] == "secure"
        names = [word.partition("=")[0] for word in words[1:]]
        assert names in (["match", "servername"], ["match", "servername", "tafile"])


def test_withdrawn_row_defers() -> None:
    """Mail that was decided to need assured TLS waits when no row assures it any more."""
    assert isinstance(ask(), TryAgain)
    assert isinstance(ask(Partner("p.test", demand="encrypt")), TryAgain)


def test_rows_that_agree() -> None:
    """Several rows with one policy are one policy; a row without TLS demand does not count."""
    rows = (Partner("p.test", tls="verify"), Partner(".p.test", tls="verify"), Partner("a@p.test"))
    assert isinstance(ask(*rows), Found)


def test_rows_that_disagree_defer() -> None:
    """A delivery obeys one policy only, so rows that demand different ones defer, and the reason names them."""
    answer = ask(Partner("p.test", tls="verify"), Partner("a@p.test", tls=f"fingerprint:{FINGERPRINT}"))
    assert answer == TryAgain("the partner rows a@p.test, p.test demand different TLS policies of p.test")


def test_one_row_that_cannot_be_served_defers_all() -> None:
    """A row that is not served yet is not outvoted by one that is."""
    answer = ask(Partner("p.test", tls="verify"), Partner("a@p.test", tls="dane"))
    assert answer == TryAgain("the partner row a@p.test demands dane, which is not served yet")


def test_database_down_defers() -> None:
    """Where the partner table cannot be read, the mail waits."""
    assert isinstance(TlsPolicy(Rows(broken=True))("p.test"), TryAgain)


def test_ordinary_transport_goes_on() -> None:
    """The table of the ordinary transport knows nothing, which leaves that transport as it was."""
    assert no_policy("p.test") == NotFound()
    assert set(tables(Rows())) == {"tls", "sts", "capability"}
