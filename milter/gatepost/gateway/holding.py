"""
Holding: the copy of some recipients goes into quarantine, and a notice to the sender is written.
"""

from collections.abc import Sequence

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

    def hold(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice:
        """
        Hold the copy of the recipients judged so, durably; gives the notice that is due.

        Raises StorageError, and then nothing is held.
        """
        subject = subject_of(transaction)
        self._quarantine.hold(
            transaction,
            [one.recipient for one in judgements],
            subject=subject,
            cause="; ".join(dict.fromkeys(_cause(one) for one in judgements)),
            rules=tuple(dict.fromkeys(rule for one in judgements for rule in one.rules)),
        )
        held = {one.recipient for one in judgements}
        return self._notices.held(
            transaction,
            subject=subject,
            held=[(one.recipient.address, _cause(one)) for one in judgements],
            went=[one.address for one in transaction.recipients if one not in held],
            keep=self._quarantine.keep,
            inside=all(one.direction in {Direction.OUT, Direction.INTERNAL} for one in judgements),
        )


def _cause(judgement: Judgement) -> str:
    return "; ".join(judgement.reasons)
