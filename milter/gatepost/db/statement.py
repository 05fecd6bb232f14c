"""
Statements that run for every message, compiled once: SQLAlchemy's own work at each call costs more than SQLite's.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.sql.elements import CompilerElement


class Statement:
    """SQL text for one database driver, and how a row's values are handed to it."""

    def __init__(self, clause: CompilerElement, dialect: Dialect, names: Iterable[str] | None = None) -> None:
        """Compile a clause; `names` are the columns that an insert fills."""
        compiled = clause.compile(dialect=dialect, column_keys=list(names) if names else None)
        self.sql = str(compiled)
        self._order: list[str] | None = compiled.positiontup  # type: ignore[attr-defined]
        self._converters = {
            bind.key: convert
            for bind in compiled.bind_names  # type: ignore[attr-defined]
            if (convert := bind.type.dialect_impl(dialect).bind_processor(dialect))
        }

    def parameters(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        """Put values, by name, into the form that the driver takes."""
        row = dict(values)
        for name, convert in self._converters.items():
            row[name] = convert(row[name])
        return tuple([row[name] for name in self._order]) if self._order is not None else row
