"""Rows looked up by the values of one column, past SQLAlchemy's own work."""

from datetime import UTC, datetime

import pytest

from gatepost.db.engine import Database
from gatepost.db.keys import KeyTable
from gatepost.db.lookup import Lookup
from gatepost.db.tables import key
from gatepost.directory.key import Key, Trust

WHEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def _keys(*owners: str) -> list[Key]:
    return [
        Key(f"F{number}", "openpgp", owner, b"\0", Trust.WKD, expires=WHEN) for number, owner in enumerate(owners)
    ]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 20])
def test_any_number_of_values(database: Database, count: int) -> None:
    """Each row that holds one of the values is found once, however many are asked for."""
    owners = [f"o{number}.test" for number in range(20)]
    KeyTable(database).put(_keys(*owners, "o3.test"))
    rows = Lookup(database, (key.c.fingerprint, key.c.owner), key.c.owner).rows(owners[:count])

    wanted = [*owners[:count], *(["o3.test"] if count > 3 else [])]
    assert sorted(row.owner for row in rows) == sorted(wanted)


def test_values_as_columns_say(database: Database) -> None:
    """Times are UTC, truth is a bool and octets are octets, whatever the driver gives."""
    KeyTable(database).put(_keys("a.test"))
    [row] = Lookup(database, (key.c.own, key.c.expires, key.c.certificate), key.c.owner).rows(["a.test"])

    assert (row.own, row.expires, bytes(row.certificate)) == (False, WHEN, b"\0")
    assert row.own is False
