"""
Counts of events by the recipient's domain.

Events are read from the latest back, by ranges of their IDs: however many there are, only those of the time that
is asked for are looked at, and no statement takes long.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Row, func, select

from gatepost.db.engine import Database
from gatepost.db.tables import event
from gatepost.directory.usage import DomainUse

_RANGE = 50_000
_ENVELOPES = ("securedoc", "pickup", "pdf")
_DEMANDS = ("tls", "encrypt")


class SqlUsage:
    """Counts events; implements the port `Usage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_domain(self, since: datetime) -> tuple[DomainUse, ...]:
        """Give each domain's counts, the most protected copies first; raises StorageError."""
        counted: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        for recipient, treatment, copies in self._counts(since):
            counted[recipient.rpartition("@")[2].lower()][treatment] += copies
        uses = [
            DomainUse(
                domain=domain,
                protected=sum(treatments.values()),
                enveloped=sum(treatments[one] for one in _ENVELOPES),
                held=treatments["quarantine"],
                by_tls=treatments["tls"],
            )
            for domain, treatments in counted.items()
        ]
        return tuple(sorted(uses, key=lambda one: (-one.protected, one.domain)))

    def _counts(self, since: datetime) -> Iterator[Row[str, str, int]]:
        last = self._newest(None)
        while last is not None:
            within = event.c.id.between(last - _RANGE + 1, last)
            counts = (
                select(event.c.recipient, event.c.treatment, func.count())
                .where(within, event.c.at >= since, event.c.direction == "out", event.c.kind != "delivery")
                .where(event.c.demand.in_(_DEMANDS))
                .group_by(event.c.recipient, event.c.treatment)
            )
            with self._database.reading() as connection:
                newest = connection.scalar(select(func.max(event.c.at)).where(within))
                rows = connection.execute(counts).all()
            yield from rows
            if newest is None or newest < since:
                return
            last = self._newest(last - _RANGE)

    def _newest(self, up_to: int | None) -> int | None:
        newest = select(func.max(event.c.id))
        with self._database.reading() as connection:
            found = connection.scalar(newest if up_to is None else newest.where(event.c.id <= up_to))
        return None if found is None else int(found)
