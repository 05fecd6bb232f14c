"""
Release: a held copy may go after all.

Released copies go encrypted: the message is decided again with today's rules and keys, without the demand
`quarantine` and with at least `encrypt`. A recipient for whom that gives no way out stays held.

Rules:
  * Every release of a held copy has one entry in the journal: what was submitted is noted there before the copy
    is marked as released, so the next release after a crash finishes this one. A copy of which nobody knows
    whether it was taken goes once more, as a possible duplicate.
  * Only the key worker opens the message, one data key per release.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from gatepost.decision.demand import Treatment
from gatepost.decision.plan import Judgement
from gatepost.errors import GatepostError, VaultError
from gatepost.gateway.budget import Budget
from gatepost.gateway.journal import Attempt, Journal
from gatepost.message.address import Address
from gatepost.message.transaction import Recipient, Transaction
from gatepost.vault.held import Held, Quarantine

_STAYS = frozenset({Treatment.QUARANTINE, Treatment.REJECT, Treatment.TEMPFAIL})


class DataKeys(Protocol):
    """The key worker, as far as releasing needs it. Raises WorkerError, CryptoError."""

    def release(self, held: UUID, wrapped: bytes) -> bytes:
        """Unwrap the data key of one held copy."""


class Outbound(Protocol):
    """The gateway with the rules for a release. Raises DeliveryError, StorageError, CryptoError, WorkerError."""

    def release(self, transaction: Transaction, budget: Budget, attempt: Attempt) -> tuple[Judgement, ...]:
        """
        Decide again and submit every copy that may leave and did not leave by an earlier try.

        Gives a judgement for each recipient; those judged `quarantine`, `reject` or `tempfail` did not get one.
        """


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a release: who got a copy, and for whom it is still held.

    `earlier` names those of `gone` who got theirs by an earlier release that was cut off, `repeated` those who may
    have got it twice. After a `fault` it is held for everybody else who was to get it.
    """

    gone: tuple[Judgement, ...]
    kept: tuple[Judgement, ...]
    earlier: Collection[Recipient] = field(default=frozenset())
    repeated: Collection[Recipient] = field(default=frozenset())
    fault: GatepostError | None = None


class Release:
    """Lets held copies go."""

    def __init__(
        self,
        *,
        quarantine: Quarantine,
        data_keys: DataKeys,
        outbound: Outbound,
        journal: Journal,
        spool: Path,
        seconds: float,
    ) -> None:
        """Take the directory for large bodies, and the seconds that one release may take."""
        self._quarantine = quarantine
        self._data_keys = data_keys
        self._outbound = outbound
        self._journal = journal
        self._spool = spool
        self._seconds = seconds

    def find(self, prefix: str) -> Held:
        """Give the copy whose ID begins so, if it is still held; raises VaultError."""
        return self._quarantine.find(prefix)

    def encrypted(self, held: Held, to: Address | None = None) -> Outcome:
        """
        Send the copy, encrypted, to all its recipients or to one of them.

        Raises VaultError if it is not held for that recipient, DeliveryError while another release is under way,
        and what stopped the release if nobody got a copy.
        """
        chosen = _chosen(held, to)
        if held.wrapped_key is None:
            raise VaultError(f"the message of the copy {held.id} is gone")
        data_key = self._data_keys.release(held.id, held.wrapped_key)
        transaction = self._quarantine.read(chosen, data_key, self._spool)
        budget = Budget(self._seconds, lambda: None)
        with self._journal.release(held.id, transaction, budget) as attempt:
            attempt.find()
            earlier = frozenset(one.recipient for one in attempt.submitted())
            kept, fault = self._sent(transaction, budget, attempt)
            asked = set(transaction.recipients)
            gone = tuple(one for one in attempt.submitted() if one.recipient in asked)
            if gone:
                reached = ", ".join(f"{one.recipient.address} ({one.treatment.value})" for one in gone)
                self._quarantine.finish(held, [one.recipient for one in gone], f"released to {reached}")
            elif fault is not None:
                raise fault
            return Outcome(gone, kept, earlier, attempt.repeated(), fault)

    def _sent(
        self, transaction: Transaction, budget: Budget, attempt: Attempt
    ) -> tuple[tuple[Judgement, ...], GatepostError | None]:
        """Give who stays held by today's decision, or what stopped the release."""
        try:
            judgements = self._outbound.release(transaction, budget, attempt)
        except GatepostError as fault:
            return (), fault
        return tuple(one for one in judgements if one.treatment in _STAYS), None

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
