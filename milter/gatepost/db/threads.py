"""
The thread table, asked for every message: no cache, since a row that another process has just committed counts.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, select

from gatepost.db.engine import Database
from gatepost.db.statement import Statement
from gatepost.db.tables import thread

_WIDTH = 8


class SqlThreads:
    """Looks threads up; implements the port `Threads`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = [f"id{number}" for number in range(_WIDTH)]
        matching = thread.c.message_id.in_([bindparam(name) for name in self._names])
        self._statement = Statement(select(thread.c.cause).where(matching), database.reader.dialect)

    def known(self, message_ids: Iterable[bytes]) -> bool:
        """Tell whether any of these hashed Message-IDs is of a protected thread; raises StorageError."""
        wanted = list(message_ids)
        return any(self._any(wanted[start : start + _WIDTH]) for start in range(0, len(wanted), _WIDTH))

    def _any(self, wanted: Sequence[bytes]) -> bool:
        padded = (*wanted, *[wanted[0]] * (_WIDTH - len(wanted)))
        parameters = self._statement.parameters(dict(zip(self._names, padded, strict=True)))
        with self._database.reading() as connection:
            return connection.exec_driver_sql(self._statement.sql, parameters).first() is not None
