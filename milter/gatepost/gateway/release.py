"""
Release: a held copy may go after all.

Released copies go encrypted: the message is decided again with today's rules and keys, without the demand
`quarantine` and with at least `encrypt`. A recipient for whom that gives no way out stays held.

Rules:
  * A copy is submitted first and marked as released afterwards: a crash between may send it a second time, never
    lose it.
  * Only the key worker opens the message, one data key per release.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from gatepost.decision.demand import Treatment
from gatepost.decision.plan import Judgement
from gatepost.errors import VaultError
from gatepost.gateway.budget import Budget
from gatepost.message.address import Address
from gatepost.message.transaction import Transaction
from gatepost.vault.held import Held, Quarantine

_STAYS = frozenset({Treatment.QUARANTINE, Treatment.REJECT})


class DataKeys(Protocol):
    """The key worker, as far as releasing needs it. Raises WorkerError, CryptoError."""

    def release(self, held: UUID, wrapped: bytes) -> bytes:
        """Unwrap the data key of one held copy."""


class Outbound(Protocol):
    """The gateway with the rules for a release. Raises DeliveryError, StorageError, CryptoError, WorkerError."""

    def release(self, transaction: Transaction, budget: Budget) -> tuple[Judgement, ...]:
        """
        Decide again and submit every copy that may leave.

        Gives a judgement for each recipient; those judged `quarantine` or `reject` did not get a copy.
        """


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a release: who got a copy, and for whom it is still held."""

    gone: tuple[Judgement, ...]
    kept: tuple[Judgement, ...]


class Release:
    """Lets held copies go."""

    def __init__(
        self, *, quarantine: Quarantine, data_keys: DataKeys, outbound: Outbound, spool: Path, seconds: float
    ) -> None:
        """Take the directory for large bodies, and the seconds that one release may take."""
        self._quarantine = quarantine
        self._data_keys = data_keys
        self._outbound = outbound
        self._spool = spool
        self._seconds = seconds

    def find(self, prefix: str) -> Held:
        """Give the copy whose ID begins so, if it is still held; raises VaultError."""
        return self._quarantine.find(prefix)

    def encrypted(self, held: Held, to: Address | None = None) -> Outcome:
        """
        Send the copy, encrypted, to all its recipients or to one of them.

        Raises VaultError if it is not held for that recipient.
        """
        chosen = _chosen(held, to)
        if held.wrapped_key is None:
            raise VaultError(f"the message of the copy {held.id} is gone")
        data_key = self._data_keys.release(held.id, held.wrapped_key)
        transaction = self._quarantine.read(chosen, data_key, self._spool)
        judgements = self._outbound.release(transaction, Budget(self._seconds, lambda: None))
        gone = tuple(one for one in judgements if one.treatment not in _STAYS)
        if gone:
            reached = ", ".join(f"{one.recipient.address} ({one.treatment.value})" for one in gone)
            self._quarantine.finish(held, [one.recipient for one in gone], f"released to {reached}")
        return Outcome(gone, tuple(one for one in judgements if one.treatment in _STAYS))

    def as_is(self, held: Held) -> Outcome:
        """Refuse: only a find of a detector that was shown can be lifted, and no rule here has any."""
        raise VaultError(
            f"the copy {held.id} cannot go as it is: it is held because of {held.cause!r}, and --as-is lifts only"
            " detect rules whose finds were shown; release it with --encrypted, or delete it"
        )


def _chosen(held: Held, to: Address | None) -> Held:
    """Give the copy for one recipient only, compared without case, or as it is."""
    if to is None:
        return held
    wanted = to.text.lower()
    chosen = tuple(one for one in held.recipients if one.address.text.lower() == wanted)
    if not chosen:
        raise VaultError(f"the copy {held.id} is not held for {to}; see `gatepost quarantine show {held.id}`")
    return replace(held, recipients=chosen)
