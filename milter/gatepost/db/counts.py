"""
How much there is in the tables, for monitoring.
"""

from sqlalchemy import Select, func, select

from gatepost.db.engine import Database
from gatepost.db.tables import event, held, journal, queued_copy, stamp


class SqlCounts:
    """Counts rows. Thread-safe; raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self) -> int:
        """Count the copies in quarantine."""
        return self._count(select(func.count()).where(held.c.state == "held"))

    def open_entries(self) -> int:
        """Count the journal's entries without a verdict."""
        return self._count(select(func.count()).where(journal.c.settled.is_(False)))

    def deferred(self, host: str) -> int:
        """Count the protected copies of a host that its mail server tries again."""
        return self._count(
            select(func.count()).where(queued_copy.c.host == host, queued_copy.c.status == "deferred")
        )

    def unstamped(self, host: str) -> int:
        """Count a host's events that no stamp covers yet."""
        stamped = select(func.max(stamp.c.last)).where(stamp.c.host == host).scalar_subquery()
        return self._count(
            select(func.count()).where(event.c.host == host, event.c.sequence > func.coalesce(stamped, 0))
        )

    def _count(self, wanted: Select[int]) -> int:
        with self._database.reading() as connection:
            return int(connection.scalar(wanted) or 0)
