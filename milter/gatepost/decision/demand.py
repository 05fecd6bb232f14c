"""
Demands and treatments: the two scales of every decision.

A demand says how strongly a message to one recipient must be protected; a treatment says how its copy goes.
"""

from enum import IntEnum, StrEnum


class Demand(IntEnum):
    """How strongly a message to a recipient must be protected; the strictest of several wins."""

    NONE = 0
    TLS = 1
    ENCRYPT = 2
    QUARANTINE = 3
    REJECT = 4

    @property
    def word(self) -> str:
        """The demand as rules, tables and output spell it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> "Demand":
        """Read a demand's word; raises KeyError for any other."""
        return _DEMANDS[word]


_DEMANDS = {demand.word: demand for demand in Demand}


class Treatment(StrEnum):
    """How one recipient's copy goes."""

    PASS = "pass"  # noqa: S105 - a treatment, no password
    TLS = "tls"
    OPENPGP = "openpgp"
    SMIME = "smime"
    PDF = "pdf"
    SECUREDOC = "securedoc"
    PICKUP = "pickup"
    QUARANTINE = "quarantine"
    REJECT = "reject"
    TEMPFAIL = "tempfail"  # the whole message is put off, as for REJECT it is refused


ENCRYPTING = frozenset({Treatment.OPENPGP, Treatment.SMIME, Treatment.PDF, Treatment.SECUREDOC, Treatment.PICKUP})
PROTECTING = ENCRYPTING | {Treatment.TLS}
