"""The key table: which keys are found, and what an edit does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gatepost.db.engine import Database
from gatepost.db.keys import KeyTable, SqlAnnounced, SqlKeys
from gatepost.directory.key import Key, Trust
from gatepost.errors import DirectoryError
from gatepost.message.address import parse

KEY = Key("AA", "openpgp", "bob@a.test", b"\x00public", Trust.WKD, source="file")


def test_key_comes_back_whole(database: Database) -> None:
    """Every column of a key survives, its expiry in UTC."""
    key = replace(KEY, expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    KeyTable(database).put([key])

    assert SqlKeys(database).find(parse(b"bob@a.test"), "openpgp") == (key,)


def test_nearest_owner_and_best_known_key_first(database: Database) -> None:
    """Exact address, lower case, without tag, domain; under one owner the better known key."""
    expected = [
        replace(KEY, owner="Bob+x@a.test"),
        replace(KEY, owner="bob+x@a.test"),
        replace(KEY, fingerprint="BB", trust=Trust.ADMIN),
        KEY,
        replace(KEY, owner="a.test"),
    ]
    others = [replace(KEY, owner="al@a.test"), replace(KEY, owner="a.test", fingerprint="CC", kind="smime")]
    KeyTable(database).put([*reversed(expected), *others])

    assert list(SqlKeys(database).find(parse(b"Bob+x@a.test"), "openpgp")) == expected


def test_private_half_stays(database: Database) -> None:
    """Importing a newer certificate keeps the sealed private half; `sealed` gives it."""
    table = KeyTable(database)
    table.put([KEY], sealed=b"sealed")
    table.put([replace(KEY, certificate=b"newer")])
    (found,) = SqlKeys(database).find(parse(b"bob@a.test"), "openpgp")

    assert found.own
    assert found.certificate == b"newer"
    assert table.sealed(parse(b"bob+x@a.test"), "openpgp") == ((found, b"sealed"),)


def test_key_without_private_half_is_not_ours(database: Database) -> None:
    """Only the private half makes a key our own."""
    table = KeyTable(database)
    table.put([replace(KEY, own=True)])

    assert table.sealed(parse(b"bob@a.test"), "openpgp") == ()
    assert not table.rows()[0].own


def test_trust_and_remove(database: Database) -> None:
    """Trust is set under every owner; a key is removed under one owner or all."""
    table = KeyTable(database)
    table.put([KEY, replace(KEY, owner="a.test"), replace(KEY, owner="b.test")])
    table.trust("AA", Trust.ADMIN)
    assert {key.trust for key in table.rows()} == {Trust.ADMIN}
    table.remove("AA", "b.test")
    assert [key.owner for key in table.rows()] == ["a.test", "bob@a.test"]
    table.remove("AA")
    assert table.rows() == ()


@pytest.mark.parametrize(
    "act",
    [lambda t: t.trust("AA", Trust.CA), lambda t: t.remove("AA"), lambda t: t.remove("AA", "x.test")],
)
def test_unknown_key(database: Database, act: Callable[[KeyTable], None]) -> None:
    """Editing a key that is not there is an error that names it."""
    with pytest.raises(DirectoryError, match="no key AA"):
        act(KeyTable(database))


def test_newest_own_key_first(database: Database) -> None:
    """Of one owner's private keys, the one that came in last is given first: it signs."""
    table = KeyTable(database)
    for fingerprint in ("BB", "AA", "CC"):
        table.put([replace(KEY, fingerprint=fingerprint)], sealed=b"sealed")
    table.put([replace(KEY, fingerprint="DD", owner="a.test")], sealed=b"sealed")

    found = [one.fingerprint for one, _ in table.sealed(parse(b"bob@a.test"), "openpgp")]
    assert found == ["CC", "AA", "BB", "DD"]


def test_any_own(database: Database) -> None:
    """Whether there is a private half is told, once for all looks within the cache's time."""
    keys, table = SqlKeys(database), KeyTable(database)
    table.put([KEY])
    assert not keys.any_own()
    table.put([KEY], sealed=b"sealed")
    assert SqlKeys(database).any_own()


def test_what_mail_announced(database: Database) -> None:
    """What a key's holder announced is kept under every owner, and stays when the key is imported again."""
    table, announced = KeyTable(database), SqlAnnounced(database)
    table.put([KEY, replace(KEY, owner="a.test"), replace(KEY, fingerprint="BB")])
    announced.note("AA", b"0\x00")
    announced.note("AA", b"0\x01")
    announced.note("AA", b"0\x01")
    announced.note("EE", b"0\x01")
    table.put([KEY])

    assert {(one.fingerprint, one.owner, one.capabilities) for one in table.rows()} == {
        ("AA", "bob@a.test", b"0\x01"),
        ("AA", "a.test", b"0\x01"),
        ("BB", "bob@a.test", b""),
    }
