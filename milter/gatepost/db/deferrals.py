"""
Copies that the mail server has deferred, for whoever tells their senders.
"""

from collections.abc import Sequence

from sqlalchemy import select, update

from gatepost.db.deliveries import copy_from
from gatepost.db.engine import Database
from gatepost.db.tables import queued_copy as table
from gatepost.decision.demand import Treatment
from gatepost.gateway.delivery import Copy, Status


class SqlWaiting:
    """One host's copies that wait; an implementation of `Waiting`. Thread-safe."""

    def __init__(self, database: Database, host: str) -> None:
        self._database = database
        self._host = host

    def untold(self, seconds: int) -> Sequence[Copy]:
        """Give the copies by TLS that are deferred, of every untold message that has one deferred for so long."""
        waits = (
            table.c.host == self._host,
            table.c.status == Status.DEFERRED.value,
            table.c.treatment == Treatment.TLS.value,
            table.c.told.is_(False),
        )
        long = select(table.c.message).where(*waits, table.c.waited >= seconds)
        wanted = (
            select(table).where(*waits, table.c.message.in_(long)).order_by(table.c.message, table.c.recipient)
        )
        with self._database.reading() as connection:
            return [copy_from(row) for row in connection.execute(wanted)]

    def tell(self, message: str) -> None:
        """Note that the sender of a message was told."""
        mine = update(table).where(table.c.host == self._host, table.c.message == message)
        with self._database.writing() as connection:
            connection.execute(mine.values(told=True))
