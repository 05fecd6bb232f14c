"""
How a message came in, held against what the partner table asks of mail from its sender.

Rules:
  * The rows are those of the envelope sender and of every address in From. Each row's demand must hold, and of
    the actions of rows whose demand does not, the strictest counts: who writes a partner's name into either
    place gets what the partner would get.
  * `tls` is met by the connection that handed the message in, or where the message is truly encrypted; `encrypt`
    where it is truly encrypted, also if nobody here can open it.
  * TLS keeps a message from being read on its way. It does not tell who sent it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gatepost.decision.demand import Demand
from gatepost.directory.partner import Partner
from gatepost.directory.partner_rules import INBOUND_ACTIONS
from gatepost.message.transaction import Came

_HOW = {
    Came.PLAIN: "came in clear",
    Came.TLS: "came by TLS",
    Came.VERIFIED: "came by TLS from a trusted certificate",
}


@dataclass(frozen=True, slots=True)
class Inbound:
    """How one message came, and the partner rows that speak of mail from its sender."""

    came: Came = Came.PLAIN
    rows: tuple[Partner, ...] = ()
    encrypted: bool = False

    @classmethod
    def of(cls, came: Came, certificate: str, rows: Iterable[Partner]) -> "Inbound":
        """
        Take how the client came, by the mail server's word, and the common name in its trusted certificate.

        Where a row names the partner's certificate (`tls_name`), `verified` means that very name.
        """
        rows = tuple(rows)
        if came is Came.VERIFIED and any(row.tls_name not in {"", certificate.lower()} for row in rows):
            came = Came.TLS
        return cls(came, tuple(row for row in rows if Demand.of(row.inbound) is not Demand.NONE))

    @property
    def unmet(self) -> tuple[Partner, ...]:
        """The rows whose demand does not hold."""
        if self.encrypted:
            return ()
        by_tls = self.came is not Came.PLAIN
        return tuple(row for row in self.rows if not (by_tls and Demand.of(row.inbound) is Demand.TLS))

    @property
    def action(self) -> str:
        """The strictest action of those rows, as the partner table spells it; empty where every demand holds."""
        return max((row.inbound_action for row in self.unmet), key=INBOUND_ACTIONS.index, default="")

    @property
    def reasons(self) -> tuple[str, ...]:
        """What each row asks, and what came of it."""
        unmet = self.unmet
        how = "came encrypted" if self.encrypted else _HOW[self.came]
        return tuple(
            f"partner {row.pattern} asks that its mail come by {row.inbound}; it {how}"
            + (f": {row.inbound_action}" if row in unmet else "")
            for row in self.rows
        )

    def released(self) -> "Inbound":
        """Give the same for a message that was held and may go now: what is unmet is told, and no more."""
        return replace(self, rows=tuple(replace(row, inbound_action="flag") for row in self.rows))
