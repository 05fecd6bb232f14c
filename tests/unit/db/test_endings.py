"""Which keys expire between two moments, as far as they are in use; and that each is told once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from gatepost.db.endings import SqlEndings
from gatepost.db.engine import Database
from gatepost.db.issuing import SqlIssuing
from gatepost.db.keys import KeyTable
from gatepost.db.notices import SqlNotices
from gatepost.directory.key import Key, Trust
from gatepost.gateway.expiring import Ending
from gatepost.gateway.issuing import Authority

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TRUSTS = ("admin", "wkd")


def days(number: int) -> datetime:
    return NOW + timedelta(days=number)


def key(name: str, end: int | None, owner: str = "bob@p.test", kind: str = "smime", trust: str = "ADMIN") -> Key:
    return Key(name, kind, owner, b"", Trust[trust], expires=None if end is None else days(end))


@pytest.fixture
def found(database: Database) -> Callable[..., list[str]]:
    """Put partners' keys, and give the fingerprints of those that expire within 30 days."""

    def find(*keys: Key) -> list[str]:
        KeyTable(database).put(keys)
        return [one.fingerprint for one in SqlEndings(database, TRUSTS).between(NOW, days(30))]

    return find


def test_those_between(found: Callable[..., list[str]]) -> None:
    """The first to expire first; what has expired, lasts longer or for ever is not among them."""
    ends = {"AA": 20, "BB": 30, "CC": 31, "DD": 0, "EE": None, "FF": 2}
    keys = [key(name, end, owner=f"{name.lower()}@p.test") for name, end in ends.items()]

    assert found(*keys) == ["FF", "AA", "BB"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (key("BB", 60), False),
        (key("BB", None), False),
        (key("BB", 60, owner="p.test"), True),
        (key("BB", 60, kind="openpgp"), True),
        (key("BB", 60, trust="HARVESTED"), True),
        (key("BB", 5), True),
    ],
)
def test_a_successor_leaves_no_gap(found: Callable[..., list[str]], other: Key, told: bool) -> None:
    """Another key of the owner that is used and lasts longer; not one of another kind, or that is not trusted."""
    assert ("AA" in found(key("AA", 10), other)) is told


def test_a_partners_key_is_no_successor_of_ours(database: Database) -> None:
    """Nor the other way round; and what is not trusted is not in use."""
    table = KeyTable(database)
    table.put([key("AA", 10, owner="hosp.test")], sealed=b"sealed")
    table.put([key("BB", 60, owner="hosp.test"), key("CC", 10, owner="q.test", trust="KEYSERVER")])

    assert SqlEndings(database, TRUSTS).between(NOW, days(30)) == (
        Ending("AA", "smime", "hosp.test", own=True, expires=days(10)),
    )


def test_the_latest_authority_alone(database: Database) -> None:
    """One that was replaced expires unnoticed."""
    issuing, endings = SqlIssuing(database), SqlEndings(database, TRUSTS)
    issuing.add_authority(Authority("AA", b"", b"", days(10)), days(-2))
    assert endings.between(NOW, days(30)) == (Ending("AA", "authority", "", own=True, expires=days(10)),)

    issuing.add_authority(Authority("BB", b"", b"", days(90)), days(-1))
    assert endings.between(NOW, days(30)) == ()


def test_each_is_claimed_once(database: Database) -> None:
    """What another host had noted is not given again, and counts for no recipient; taken back, it is."""
    first, second = SqlNotices(database), SqlNotices(database)

    assert first.claim_new([b"a", b"b"], NOW) == {b"a", b"b"}
    assert second.claim_new([b"a", b"b", b"c"], NOW) == {b"c"}
    first.forget(b"a")
    assert second.claim_new([b"a", b"b"], NOW) == {b"a"}
    assert first.claim(b"n", "", NOW, 20)
