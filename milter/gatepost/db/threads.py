"""
The thread table, asked for every message: no cache, since a row that another process has just committed counts.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, select

from gatepost.db.engine import Database
from gatepost.db.tables import thread

_WIDTH = 8


class SqlThreads:
    """Looks threads up; implements the port `Threads`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Compiled once, for a fixed number of IDs: SQLAlchemy's own work would cost more than the search.
        self._names = [f"id{number}" for number in range(_WIDTH)]
        statement = select(thread.c.cause).where(
            thread.c.message_id.in_([bindparam(name) for name in self._names])
        )
        compiled = statement.limit(1).compile(dialect=database.reader.dialect)
        self._extra = {name: value for name, value in compiled.params.items() if name not in self._names}
        self._order = compiled.positiontup
        self._sql = str(compiled)

    def known(self, message_ids: Iterable[bytes]) -> bool:
        """Tell whether any of these hashed Message-IDs is of a protected thread; raises StorageError."""
        wanted = list(message_ids)
        return any(self._any(wanted[start : start + _WIDTH]) for start in range(0, len(wanted), _WIDTH))

    def _any(self, wanted: Sequence[bytes]) -> bool:
        values = (
            dict(zip(self._names, (*wanted, *[wanted[0]] * (_WIDTH - len(wanted))), strict=True)) | self._extra
        )
        parameters = tuple(values[name] for name in self._order) if self._order else values
        with self._database.reading() as connection:
            return connection.exec_driver_sql(self._sql, parameters).first() is not None
