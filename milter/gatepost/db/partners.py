"""
The partner table, looked up on the way of every message and edited by admins.

An edit by anyone is seen within `cache.SECONDS`. A row that holds what the command line would have refused makes
the look-up fail: mail to that partner waits, it never counts as mail to no partner.
"""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Row,
    Text,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    union,
    union_all,
    update,
)

from gatepost.db.cache import Cache
from gatepost.db.direct import DirectReader
from gatepost.db.engine import Database
from gatepost.db.lookup import Lookup
from gatepost.db.statement import Statement
from gatepost.db.tables import partner, partner_domain
from gatepost.directory.partner import Partner, patterns
from gatepost.directory.partner_rules import COLUMNS, check_partner, columns_of
from gatepost.errors import DirectoryError, StorageError
from gatepost.message.address import Address, parent_domains

_BATCH = 10_000
_PAGE = 1000
_WIDTH = 8
_NO_DOMAIN = "["  # stands in no domain
_ANY_AT_NEXTHOP: CompoundSelect[Any] = union_all(
    select(literal_column("1")).where(
        partner.c.nexthop == bindparam("nexthop"), partner.c.nexthop != literal_column("''")
    ),
    select(literal_column("1")).where(
        partner_domain.in_([bindparam(f"domain{number}", type_=Text) for number in range(_WIDTH)])
    ),
)
_BY_NEXTHOP = union(  # not OR, which a planner may answer by reading the whole table
    select(partner).where(partner.c.nexthop == bindparam("nexthop"), partner.c.nexthop != literal_column("''")),
    select(partner).where(partner_domain.in_(bindparam("domains", expanding=True))),
)


class SqlPartners:
    """Looks partners up; implements the port `Partners`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader = DirectReader(database)
        self._by_pattern = Lookup(database, list(partner.c), partner.c.pattern)
        self._any_at_nexthop = Statement(_ANY_AT_NEXTHOP, database.reader.dialect)
        self._cached: Cache[tuple[str, ...], Partner | None] = Cache(self._best)
        self._cached_nexthop: Cache[str, tuple[Partner, ...]] = Cache(self._at_nexthop)

    def find(self, address: Address) -> Partner | None:
        """Give the row that matches best, or None; raises StorageError, also for a row that cannot be used."""
        return self._cached(patterns(address))

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        """
        Give the rows that name this next hop, and those for the domain that it is.

        `[host]` is no domain, so only rows that name it count. Of the domain's own rows every address counts, and
        of domain, `.domain` and `.parent` the one that matches best.
        """
        return self._cached_nexthop(nexthop.lower())

    def _best(self, wanted: tuple[str, ...]) -> Partner | None:
        rows = {row.pattern: row for row in self._by_pattern.rows(wanted)}
        return next((_usable(rows[pattern]) for pattern in wanted if pattern in rows), None)

    def _at_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        domain = "" if nexthop.startswith("[") else nexthop.partition(":")[0]
        own = (domain, *(f".{parent}" for parent in (domain, *parent_domains(domain)))) if domain else ()
        if not self._any_rows(nexthop, own):
            return ()
        with self._database.reading() as connection:
            rows = connection.execute(_BY_NEXTHOP, {"nexthop": nexthop, "domains": own}).all()
        best = next((pattern for pattern in own if any(row.pattern == pattern for row in rows)), None)
        return tuple(
            _usable(row) for row in rows if row.nexthop == nexthop or row.pattern == best or "@" in row.pattern
        )

    def _any_rows(self, nexthop: str, domains: Sequence[str]) -> bool:
        """Tell, at little cost, whether there may be rows; for most next hops there are none."""
        if len(domains) > _WIDTH:
            return True
        padded = (*domains, *[_NO_DOMAIN] * (_WIDTH - len(domains)))
        values = {"nexthop": nexthop, **{f"domain{number}": one for number, one in enumerate(padded)}}
        statement = self._any_at_nexthop
        return self._reader.first(statement.sql, statement.parameters(values)) is not None


class PartnerTable:
    """Edits the partner table. Every change is one transaction; rows are judged before they are written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def check_ca(row: Partner) -> None:
        """Raise DirectoryError for a row whose CA file could verify nobody."""
        if row.tls_ca and (fault := _ca_fault(row.tls_ca)):
            raise DirectoryError(f"tls_ca: {row.tls_ca}: {fault}")

    def get(self, pattern: str) -> Partner | None:
        """Give the row of exactly this pattern, as it stands."""
        with self._database.reading() as connection:
            row = connection.execute(select(partner).where(partner.c.pattern == pattern)).first()
        return _partner(row) if row else None

    def rows(self) -> Iterator[Partner]:
        """Give every row, by pattern; a page at a time, so that a long table is never in memory whole."""
        last = ""
        while page := self._page(last):
            yield from map(_partner, page)
            last = page[-1].pattern

    def _page(self, after: str) -> Sequence[Row[Any]]:
        statement = select(partner).where(partner.c.pattern > after).order_by(partner.c.pattern).limit(_PAGE)
        with self._database.reading() as connection:
            return connection.execute(statement).all()

    def add(self, row: Partner) -> None:
        """Write a new row; raises DirectoryError if there is one of that pattern, or the row is not allowed."""
        check_partner(row)
        self.check_ca(row)
        if self.get(row.pattern):
            raise DirectoryError(f"{row.pattern} is there already; change it with `gatepost partner set`")
        with self._database.writing() as connection:
            connection.execute(insert(partner), columns_of(row))

    def change(self, row: Partner) -> None:
        """Write over the row of the same pattern; raises DirectoryError if there is none."""
        check_partner(row)
        self.check_ca(row)
        with self._database.writing() as connection:
            statement = update(partner).where(partner.c.pattern == row.pattern).values(columns_of(row))
            if not connection.execute(statement).rowcount:
                raise DirectoryError(f"{row.pattern} is not in the partner table")

    def remove(self, pattern: str) -> None:
        """Delete one row; raises DirectoryError if there is none."""
        with self._database.writing() as connection:
            if not connection.execute(delete(partner).where(partner.c.pattern == pattern)).rowcount:
                raise DirectoryError(f"{pattern} is not in the partner table")

    def put(self, rows: Sequence[Partner]) -> None:
        """Write many checked rows, over those of the same pattern, in one transaction: all of them or none."""
        with self._database.writing() as connection:
            for start in range(0, len(rows), _BATCH):
                batch = [columns_of(row) for row in rows[start : start + _BATCH]]
                old = [{"old": row["pattern"]} for row in batch]
                connection.execute(delete(partner).where(partner.c.pattern == bindparam("old")), old)
                connection.execute(insert(partner), batch)


@lru_cache(maxsize=64)
def _ca_fault(path: str) -> str:
    """Say why a file gives no CA certificates; empty if it does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        return "holds no certificates in PEM form"
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _partner(row: Row[Any]) -> Partner:
    columns = {name: getattr(row, name) for name in COLUMNS}
    columns["ladder"] = tuple(_words(columns["ladder"]))
    return Partner(**columns)


def _words(ladder: str) -> Iterable[str]:
    return (word.strip() for word in ladder.split(",") if word.strip())


def _usable(row: Row[Any]) -> Partner:
    found = _partner(row)
    try:
        check_partner(found)
    except DirectoryError as error:
        cause = "; ".join(error.diagnostics())
        raise StorageError(f"the partner row {found.pattern} cannot be used: {cause}; correct it") from error
    return found
