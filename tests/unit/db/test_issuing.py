"""What issuing keeps: authorities and requests; and which of our keys stands for its owner."""

from datetime import UTC, datetime, timedelta

import pytest

from gatepost.db.engine import Database
from gatepost.db.issuing import SqlIssuing
from gatepost.db.keys import KeyTable
from gatepost.directory.key import Key, Trust, current
from gatepost.errors import DirectoryError
from gatepost.gateway.issuing import Authority, Request
from gatepost.message.address import parse

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_the_latest_authority_comes_first(database: Database) -> None:
    """They come back whole, the one that issues first."""
    store = SqlIssuing(database)
    ones = [Authority(name, name.encode(), b"sealed", NOW) for name in ("AA", "CC", "BB")]
    for days, one in enumerate(ones):
        store.add_authority(one, NOW + timedelta(days=days))

    assert store.authorities() == tuple(reversed(ones))


def test_a_request_waits_until_it_is_removed(database: Database) -> None:
    """It is found by its public key's digest alone."""
    store = SqlIssuing(database)
    store.add_request(Request("AB", "anna@hosp.test", b"sealed"), NOW)

    assert store.request("AB") == Request("AB", "anna@hosp.test", b"sealed")
    store.remove_request("AB")
    with pytest.raises(DirectoryError, match="no request"):
        store.request("AB")


def test_the_latest_of_our_keys_comes_first(database: Database) -> None:
    """The one that came last stands for its owner, unless it has expired; importing one again changes nothing."""
    table = KeyTable(database)
    for name in ("BB", "CC", "AA"):
        table.put([Key(name, "smime", "anna@hosp.test", b"public", Trust.ADMIN)], sealed=name.encode())
    table.put([Key("DD", "smime", "anna@hosp.test", b"public", Trust.ADMIN, expires=NOW)], sealed=b"DD")
    table.put([Key("BB", "smime", "anna@hosp.test", b"public", Trust.ADMIN)], sealed=b"BB")
    table.put([Key("EE", "smime", "anna@hosp.test", b"a partner's", Trust.ADMIN)])

    found = [one.fingerprint for one, _ in table.sealed(parse(b"anna@hosp.test"), "smime")]
    assert found == ["DD", "AA", "CC", "BB"]
    assert current(table.rows(), NOW) == {("AA", "anna@hosp.test")}
