"""
Rows found by the values of one column: what the directory is asked for every message, past SQLAlchemy's own work.
"""

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Select, bindparam, select

from gatepost.db.direct import DirectReader
from gatepost.db.engine import Database
from gatepost.db.statement import Statement

_WIDTH = 8  # values asked for by one statement: most look-ups have fewer
_NAMES = [f"value{number}" for number in range(_WIDTH)]


def query(columns: Sequence[Column[Any]], by: Column[Any]) -> Select[Any]:
    """Give the statement, with `value0` to `value7` for the values."""
    return select(*columns).where(by.in_([bindparam(name, type_=by.type) for name in _NAMES]))


class Lookup:
    """Looks rows of one table up. Thread-safe; raises StorageError."""

    def __init__(self, database: Database, columns: Sequence[Column[Any]], by: Column[Any]) -> None:
        """Take the columns that are wanted, and the one whose values are asked for."""
        dialect = database.reader.dialect
        self._reader = DirectReader(database)
        self._statement = Statement(query(columns, by), dialect)
        self._row = _row_type([column.name for column in columns])
        self._converters = {
            place: convert
            for place, column in enumerate(columns)
            if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
        }

    def rows(self, values: Sequence[str]) -> list[Any]:
        """Give every row that holds one of these values, which differ; a row's columns go by their names."""
        found: list[Any] = []
        for start in range(0, len(values), _WIDTH):
            some = values[start : start + _WIDTH]
            padded = (*some, *[some[0]] * (_WIDTH - len(some)))
            parameters = self._statement.parameters(dict(zip(_NAMES, padded, strict=True)))
            found += map(self._read, self._reader.all(self._statement.sql, parameters))
        return found

    def _read(self, row: Sequence[Any]) -> Any:  # noqa: ANN401 - a row of these columns
        values = list(row)
        for place, convert in self._converters.items():
            values[place] = convert(values[place])
        return self._row._make(values)


def _row_type(names: Sequence[str]) -> Any:  # noqa: ANN401 - a class made here
    return namedtuple("Row", names)  # noqa: PYI024 - its fields are not known before
