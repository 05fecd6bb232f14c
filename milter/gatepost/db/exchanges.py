"""
Which encrypted messages came in: written in groups with the thread rows, looked up once they are on disk.

A digest is inserted unless it is there. So of two messages that bring the same at the same time, on however many
hosts, the first commit is the first author, and the other one finds it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, bindparam, literal_column, select

from gatepost.db.direct import DirectReader
from gatepost.db.engine import Database
from gatepost.db.statement import Statement
from gatepost.db.tables import addressee, exchange
from gatepost.db.writer import Writer
from gatepost.directory.exchange import AddresseeRow, ExchangeRow

_WIDTH = 8
_NAMES = [f"digest{number}" for number in range(_WIDTH)]


class SqlExchanges:
    """Implements the port `ExchangeLog`. Thread-safe."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._reader = DirectReader(database)
        matching = exchange.c.digest.in_([bindparam(name) for name in _NAMES])
        anothers: Select[Any] = select(literal_column("1")).where(
            matching, exchange.c.author != bindparam("origin")
        )
        self._anothers = Statement(anothers, database.reader.dialect)

    def add(self, exchanges: Sequence[ExchangeRow], addressees: Sequence[AddresseeRow]) -> None:
        """Write rows, wait until they are on disk; a digest keeps its first author. Raises StorageError."""
        self._writer.commit((*exchanges, *addressees))

    def is_anothers(self, exchanges: Sequence[ExchangeRow]) -> bool:
        """Tell whether any of these digests is there with another author; raises StorageError."""
        groups = (exchanges[start : start + _WIDTH] for start in range(0, len(exchanges), _WIDTH))
        return any(map(self._any, groups))

    def _any(self, group: Sequence[ExchangeRow]) -> bool:
        first = group[0]
        digests = (*(one.digest for one in group), *[first.digest] * (_WIDTH - len(group)))
        values = {**dict(zip(_NAMES, digests, strict=True)), "origin": first.author}
        return self._reader.first(self._anothers.sql, self._anothers.parameters(values)) is not None

    def addressees(self, exchanges: Sequence[ExchangeRow]) -> frozenset[bytes] | None:
        """
        Give the recipients, hashed, for whom the message whose content the first digest names came in.

        None where not one of the digests is there. Raises StorageError.
        """
        content, *_ = exchanges
        mine = (addressee.c.digest == content.digest, addressee.c.author == content.author)
        any_of_them = exchange.c.digest.in_([one.digest for one in exchanges])
        with self._database.reading() as connection:
            found = frozenset(connection.scalars(select(addressee.c.recipient).where(*mine)))
            known = connection.execute(select(exchange.c.digest).where(any_of_them).limit(1)).first()
        return found if known is not None else None
