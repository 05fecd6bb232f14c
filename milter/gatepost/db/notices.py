"""
Which notices went to whom, so that none goes twice and nobody is flooded.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select

from gatepost.db.engine import Database
from gatepost.db.tables import notice as table

# What is counted must not change before it is written; SQLite has one writer at a time anyway.
_TAKE_TURNS = "LOCK TABLE notice IN SHARE ROW EXCLUSIVE MODE"


class SqlNotices:
    """The log of notices; an implementation of `NoticeLog`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:
        """Note a notice as sent; False if it went already or its recipient got `per_hour` in the last hour."""
        sent = select(table.c.digest).where(table.c.digest == digest)
        recent = select(func.count()).where(table.c.recipient == recipient, table.c.at > at - timedelta(hours=1))
        with self._database.writing() as connection:
            if not self._database.is_sqlite:
                connection.exec_driver_sql(_TAKE_TURNS)
            if connection.execute(sent).first() is not None or (connection.scalar(recent) or 0) >= per_hour:
                return False
            connection.execute(insert(table).values(digest=digest, recipient=recipient, at=at))
        return True

    def claim_new(self, digests: Sequence[bytes], at: datetime) -> frozenset[bytes]:
        """Note what is about to be told, and give those that nobody had noted; they count for no recipient."""
        known = select(table.c.digest).where(table.c.digest.in_(digests))
        with self._database.writing() as connection:
            if not self._database.is_sqlite:
                connection.exec_driver_sql(_TAKE_TURNS)
            new = frozenset(digests) - set(map(bytes, connection.scalars(known)))
            if new:
                connection.execute(insert(table), [{"digest": one, "recipient": "", "at": at} for one in new])
        return new

    def forget(self, digest: bytes) -> None:
        """Take the note of a notice back."""
        with self._database.writing() as connection:
            connection.execute(delete(table).where(table.c.digest == digest))
