"""
The thread table, asked for every message: no cache, since a row that another process has just committed counts.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, literal_column, not_, select

from gatepost.db.direct import DirectReader
from gatepost.db.engine import Database
from gatepost.db.statement import Statement
from gatepost.db.tables import thread
from gatepost.directory.thread import Sent

_WIDTH = 8


class SqlThreads:
    """Looks threads up; implements the port `Threads`."""

    def __init__(self, database: Database) -> None:
        self._reader = DirectReader(database)
        dialect = database.reader.dialect
        self._for_one = Statement(_query(thread.c.message_id == bindparam("id0")), dialect)
        self._names = [f"id{number}" for number in range(_WIDTH)]
        matching = thread.c.message_id.in_([bindparam(name) for name in self._names])
        self._for_several = Statement(_query(matching), dialect)

    def known(self, message_ids: Iterable[bytes], *, sent: Sent | None = None) -> bool:
        """Tell whether any of these hashed Message-IDs is of a protected thread; raises StorageError."""
        wanted = list(message_ids)
        besides = sent or Sent(b"", "")
        return any(self._any(wanted[start : start + _WIDTH], besides) for start in range(0, len(wanted), _WIDTH))

    def _any(self, wanted: Sequence[bytes], besides: Sent) -> bool:
        own = {"own": besides.message_id, "sender": besides.sender}
        if len(wanted) == 1:  # most messages answer none
            statement, values = self._for_one, {"id0": wanted[0], **own}
        else:
            padded = (*wanted, *[wanted[0]] * (_WIDTH - len(wanted)))
            statement, values = self._for_several, {**dict(zip(self._names, padded, strict=True)), **own}
        return self._reader.first(statement.sql, statement.parameters(values)) is not None


def _query(matching: ColumnElement[bool]) -> Select[Any]:
    # A client that tries again, as after a lost reply, must find the decision of its first try.
    earlier_try = and_(
        thread.c.message_id == bindparam("own"),
        thread.c.inside == bindparam("sender"),
        thread.c.cause == literal_column("'protected'"),
    )
    return select(thread.c.cause).where(matching, not_(earlier_try))
