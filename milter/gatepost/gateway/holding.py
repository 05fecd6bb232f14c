"""
Holding: the copy of some recipients goes into quarantine, and a notice to the sender is written.
"""

from collections.abc import Sequence
from uuid import UUID

from gatepost.decision.plan import Judgement
from gatepost.gateway.notices import Notice, Notices, subject_of
from gatepost.message.direction import Direction
from gatepost.message.transaction import Transaction
from gatepost.vault.held import Quarantine


class Holding:
    """Puts copies into quarantine. Thread-safe."""

    def __init__(self, *, quarantine: Quarantine, notices: Notices) -> None:
        self._quarantine = quarantine
        self._notices = notices

    def hold(self, transaction: Transaction, judgements: Sequence[Judgement], name: UUID) -> None:
        """
        Hold the copy of the recipients judged so, durably; under the same name it is held once.

        Raises StorageError, and then nothing is held.
        """
        self._quarantine.hold(
            transaction,
            [one.recipient for one in judgements],
            subject=subject_of(transaction),
            cause="; ".join(dict.fromkeys(_cause(one) for one in judgements)),
            rules=tuple(dict.fromkeys(rule for one in judgements for rule in one.rules)),
            name=name,
        )

    def notice(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice:
        """Give the notice about the held copies of these recipients."""
        held = {one.recipient for one in judgements}
        return self._notices.held(
            transaction,
            subject=subject_of(transaction),
            held=[(one.recipient.address, _cause(one)) for one in judgements],
            went=[one.address for one in transaction.recipients if one not in held],
            keep=self._quarantine.keep,
            inside=all(one.direction in {Direction.OUT, Direction.INTERNAL} for one in judgements),
        )


def _cause(judgement: Judgement) -> str:
    return "; ".join(judgement.reasons)
