"""
Events looked up: what was decided for each recipient of a message, and how it went.
"""

import json
from typing import Any

from sqlalchemy import Row, or_, select

from gatepost.db.engine import Database
from gatepost.db.tables import event as table
from gatepost.directory.event import Event


class SqlEvents:
    """Reads events. Thread-safe; raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str) -> tuple[Event, ...]:
        """Give the events of a message, oldest first, by queue ID or Message-ID, with or without its brackets."""
        bracketed = name if name.startswith("<") else f"<{name}>"
        same = or_(table.c.queue_id == name, table.c.message_id.in_((name, bracketed)))
        with self._database.reading() as connection:
            rows = connection.execute(select(table).where(same).order_by(table.c.id)).all()
        return tuple(_event(row) for row in rows)


def _event(row: Row[Any]) -> Event:
    return Event(
        at=row.at.timestamp(),
        queue_id=row.queue_id,
        message_id=row.message_id,
        direction=row.direction,
        sender=row.sender,
        recipient=row.recipient,
        demand=row.demand,
        treatment=row.treatment,
        rules=tuple(row.rules.splitlines()),
        reasons=tuple(row.reasons.splitlines()),
        detail=json.loads(row.detail or "{}"),
    )
