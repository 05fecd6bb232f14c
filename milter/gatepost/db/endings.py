"""
Keys, certificates and authorities that expire, as far as they are in use.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from gatepost.db.engine import Database
from gatepost.db.tables import authority, key
from gatepost.gateway.expiring import Ending


class SqlEndings:
    """Tells what expires; an implementation of `Endings`. Thread-safe."""

    def __init__(self, database: Database, trusts: Sequence[str]) -> None:
        """Take the words for the trust with which a key is used."""
        self._database = database
        self._trusts = tuple(trusts)

    def between(self, now: datetime, until: datetime) -> tuple[Ending, ...]:
        """
        Give what is in use and expires between two moments, the first to expire first; raises StorageError.

        A key whose owner has another of its kind that lasts longer is passed over, and every authority but the
        latest.
        """
        other = key.alias("other")
        lasts_longer = (
            select(other.c.fingerprint)
            .where(
                other.c.owner == key.c.owner,
                other.c.kind == key.c.kind,
                other.c.own == key.c.own,
                other.c.trust.in_(self._trusts),
                other.c.expires.is_(None) | (other.c.expires > key.c.expires),
            )
            .exists()
        )
        keys = select(key.c.fingerprint, key.c.kind, key.c.owner, key.c.own, key.c.expires).where(
            key.c.expires > now, key.c.expires <= until, key.c.trust.in_(self._trusts), ~lasts_longer
        )
        latest = select(authority.c.fingerprint, authority.c.expires).order_by(authority.c.added.desc()).limit(1)
        with self._database.reading() as connection:
            found = [Ending(*row) for row in connection.execute(keys)]
            root = connection.execute(latest).first()
        if root is not None and now < root.expires <= until:
            found.append(Ending(root.fingerprint, "authority", "", own=True, expires=root.expires))
        return tuple(sorted(found, key=lambda one: (one.expires, one.owner, one.fingerprint)))
