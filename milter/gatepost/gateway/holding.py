"""
Holding: the copy of some recipients goes into quarantine, and the sender is told.
"""

from collections.abc import Sequence

from gatepost.decision.plan import Judgement
from gatepost.errors import StorageError
from gatepost.gateway.notices import Notice, Notices
from gatepost.log import logger
from gatepost.message.direction import Direction
from gatepost.message.subject import decode, is_subject
from gatepost.message.transaction import Transaction
from gatepost.vault.held import Quarantine

_SUBJECT_OCTETS = 4096


class Holding:
    """Puts copies into quarantine. Thread-safe."""

    def __init__(self, *, quarantine: Quarantine, notices: Notices) -> None:
        self._quarantine = quarantine
        self._notices = notices

    def hold(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice | None:
        """
        Hold the copy of the recipients judged so, durably; gives the notice that is due, if any.

        Raises StorageError, and then nothing is held.
        """
        subject = _subject(transaction)
        self._quarantine.hold(
            transaction,
            [one.recipient for one in judgements],
            subject=subject,
            cause="; ".join(dict.fromkeys(_cause(one) for one in judgements)),
            rules=tuple(dict.fromkeys(rule for one in judgements for rule in one.rules)),
        )
        try:
            return self._notice(transaction, judgements, subject)
        except StorageError as error:  # the copy is held, so the message must not come again for a notice's sake
            logger.error("nobody was told of a held copy", queue_id=transaction.queue_id, cause=str(error))
            return None

    def _notice(self, transaction: Transaction, judgements: Sequence[Judgement], subject: str) -> Notice | None:
        held = {one.recipient for one in judgements}
        return self._notices.held(
            transaction,
            subject=subject,
            held=[(one.recipient.address, _cause(one)) for one in judgements],
            went=[one.address for one in transaction.recipients if one not in held],
            keep=self._quarantine.keep,
            inside=all(one.direction in {Direction.OUT, Direction.INTERNAL} for one in judgements),
        )


def _subject(transaction: Transaction) -> str:
    """Give the subject as people read it; only so much of it as a list can show."""
    found = next((field for field in transaction.fields if is_subject(field)), None)
    return decode(found.value[:_SUBJECT_OCTETS]).strip() if found else ""


def _cause(judgement: Judgement) -> str:
    return "; ".join(judgement.reasons)
