"""
The cache of look-ups: discoveries of next hops, and MTA-STS policies, shared by every host of the site.

Admins may edit or delete rows. One that cannot be read, or whose times no look-up gives, counts as absent and is
told in the log; the next look-up writes over it. Rows that have long been over are deleted by `purge`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gatepost.db.engine import Database
from gatepost.db.tables import discovery, sts_policy
from gatepost.errors import DirectoryError, StorageError
from gatepost.log import logger
from gatepost.transport import kept_discoveries
from gatepost.transport.capability import Discovery
from gatepost.transport.discovery import MOST_SECONDS
from gatepost.transport.kept_policies import KeptPolicy

_KEPT_AFTER_END = timedelta(days=1)
_LONGEST = timedelta(seconds=MOST_SECONDS)
_CLOCKS_DIFFER = timedelta(minutes=5)  # those of two hosts
_TOLD = 200  # characters
_LONGEST_AGE = 31_557_600  # seconds: RFC 8461 section 3.2


class SqlDiscoveries:
    """The discoveries; implements the port `KeptDiscoveries`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, hop: str, now: datetime) -> Discovery | None:
        """Give what is kept and not over, with the seconds that are left of it; raises StorageError."""
        wanted = select(discovery).where(discovery.c.hop == hop.lower())
        try:
            with self._database.reading() as connection:
                row = connection.execute(wanted).first()
            return _discovery(row, hop, now) if row is not None else None
        except (ValueError, TypeError) as error:
            _absent(discovery, hop, error)
            return None

    def keep(self, found: Discovery, now: datetime) -> None:
        """Keep a discovery for as long as it says, in place of the former one; raises StorageError."""
        values = {
            "hop": found.hop.lower(),
            "found": kept_discoveries.to_text(found),
            "at": now,
            "until": now + timedelta(seconds=min(found.seconds, MOST_SECONDS)),
        }
        _put(self._database, discovery, values)

    def purge(self, now: datetime) -> int:
        """Delete what has been over for a day, policies too; gives the number of rows."""
        end = now - _KEPT_AFTER_END
        with self._database.writing() as connection:
            return sum(
                connection.execute(delete(table).where(table.c.until < end)).rowcount
                for table in (discovery, sts_policy)
            )


class SqlPolicies:
    """The MTA-STS policies; implements the port `KeptPolicies`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, domain: str) -> KeptPolicy | None:
        """Give the policy kept for a domain, one that has ceased to count too; raises StorageError."""
        wanted = select(sts_policy).where(sts_policy.c.domain == domain.lower())
        try:
            with self._database.reading() as connection:
                row = connection.execute(wanted).first()
            return _policy(row, domain) if row is not None else None
        except (ValueError, TypeError) as error:
            _absent(sts_policy, domain, error)
            return None

    def put(self, policy: KeptPolicy) -> None:
        """Keep a policy in the place of the domain's former one, unless that is newer; raises StorageError."""
        values = {
            "domain": policy.domain.lower(),
            "id": policy.id,
            "text": policy.text,
            "fetched": policy.fetched,
            "max_age": policy.max_age,
            "until": policy.until,
        }
        _put(self._database, sts_policy, values, newer="fetched")


def _discovery(row: Row[Any], hop: str, now: datetime) -> Discovery | None:
    """Read a row; None if it is over. Raises ValueError or TypeError for one that no look-up wrote."""
    if row.until <= now:
        return None
    if row.at > now + _CLOCKS_DIFFER or row.until - row.at > _LONGEST:
        raise ValueError("its times are none that a look-up gives")
    seconds = min(row.until - now, row.until - row.at).total_seconds()
    return kept_discoveries.from_text(hop, row.found, int(seconds))


def _policy(row: Row[Any], domain: str) -> KeptPolicy:
    if not isinstance(row.id, str) or not isinstance(row.text, str):
        raise TypeError("its id or its text is no text")
    if not 0 <= row.max_age <= _LONGEST_AGE:
        raise ValueError("its max_age is out of range")
    return KeptPolicy(domain, row.id, row.text, row.fetched, row.max_age)


def _put(database: Database, table: Table, values: Mapping[str, Any], *, newer: str = "") -> None:
    """Write a row over the one of the same key; with `newer`, only if that column's value is not the less."""
    insert = (sqlite if database.is_sqlite else postgresql).insert(table).values(values)
    key = list(table.primary_key)
    put = insert.on_conflict_do_update(
        index_elements=key,
        set_={name: insert.excluded[name] for name in values if name not in table.primary_key},
        where=table.c[newer] <= insert.excluded[newer] if newer else None,
    )
    try:
        with database.writing() as connection:
            connection.execute(put)
    except DirectoryError as error:  # the row is ours alone: nobody else can put it right
        raise StorageError(str(error)) from error


def _absent(table: Table, name: str, error: Exception) -> None:
    logger.warning(
        "a row of the cache cannot be read; it is looked up anew",
        table=table.name,
        row=name,
        cause=str(error)[:_TOLD],
    )
