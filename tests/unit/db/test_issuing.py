"""What issuing keeps: authorities, requests, and the chains of certificates of ours."""

from datetime import UTC, datetime, timedelta

import pytest

from gatepost.crypto import der
from gatepost.db.engine import Database
from gatepost.db.issuing import SqlIssuing
from gatepost.db.keys import KeyTable
from gatepost.directory.key import Key, Trust, current
from gatepost.errors import DirectoryError
from gatepost.gateway.issuing import Authority, Request
from gatepost.message.address import parse

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = Key("AA", "smime", "anna@hosp.test", b"public", Trust.ADMIN)
CHAIN = (der.sequence(der.integer(1)), der.sequence(der.octets(b"x" * 300)))


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


def test_a_chain_goes_with_its_last_key(database: Database) -> None:
    """A certificate under two owners keeps its chain until it is removed under both."""
    store, table = SqlIssuing(database), KeyTable(database)
    table.put([KEY, Key("AA", "smime", "hosp.test", b"public", Trust.ADMIN)], sealed=b"sealed")
    store.keep_chain("AA", (b"\x30\x00",))
    store.keep_chain("AA", CHAIN)

    table.remove("AA", "hosp.test")
    assert store.chain("AA") == CHAIN
    table.remove("AA")
    assert store.chain("AA") == ()


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
