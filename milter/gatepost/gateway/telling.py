"""
Telling: notices go out, each once.

A notice is noted as sent just before it is handed over, when the message's copies are on their way, and the note
is taken back if that fails: a message that comes again then tells what the first try could not. No fault of a
notice reaches the message.
"""

from collections.abc import Sequence

from gatepost.decision.demand import PROTECTING, Treatment
from gatepost.decision.plan import Judgement
from gatepost.errors import AliasError, DeliveryError, GatepostError, cause
from gatepost.gateway.aliases import Aliases
from gatepost.gateway.budget import Budget
from gatepost.gateway.notices import Notice, Notices
from gatepost.gateway.submission import Submission, Submitter
from gatepost.log import logger
from gatepost.message.address import NULL_SENDER
from gatepost.message.transaction import Recipient, Transaction

_HOW = {
    Treatment.TLS: "sent over a verified TLS connection",
    Treatment.OPENPGP: "encrypted with OpenPGP",
    Treatment.SMIME: "encrypted with S/MIME",
    Treatment.PDF: "sent as an encrypted PDF",
    Treatment.SECUREDOC: "sent as a registered envelope",
    Treatment.PICKUP: "kept for pickup at the portal",
}


class Telling:
    """Sends notices. Thread-safe."""

    def __init__(self, *, notices: Notices, aliases: Aliases, submitter: Submitter) -> None:
        self._notices = notices
        self._aliases = aliases
        self._submitter = submitter

    def of_protected(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice | None:
        """Write the notice that a rule with `notify` asks for; None where it asks for none."""
        told = [one for one in judgements if one.notify and one.treatment in PROTECTING]
        if not told:
            return None
        return self._notices.protected(transaction, [(one.recipient.address, _HOW[one.treatment]) for one in told])

    def tell(self, notice: Notice, budget: Budget, queue_id: str) -> bool:
        """
        Send a notice, unless it went before or its recipient had too many this hour; what fails is logged.

        Gives False where a later try may still send it.
        """
        about = {"queue_id": queue_id, "recipient": notice.recipient.text}
        try:
            if not self._notices.claim(notice):
                logger.warning("a notice was not sent", **about, cause="sent before, or too many this hour")
                return True
        except GatepostError as error:
            logger.error("a notice was not sent", **about, cause=cause(error))
            return False
        try:
            self.send(notice, budget)
        except GatepostError as error:  # the time may be up as well
            logger.error("a notice was not sent", **about, cause=cause(error))
            if isinstance(error, DeliveryError) and error.uncertain:  # it may have gone
                return True
            self._take_back(notice, queue_id)
            return False
        return True

    def send(self, notice: Notice, budget: Budget) -> None:
        """Send a notice, noted or not; raises GatepostError if it did not go."""
        ends = self._aliases.inside(notice.recipient)
        if not ends:
            raise AliasError(f"the aliases of {notice.recipient} lead outside, where no notice goes")
        self._submitter.submit(
            Submission(NULL_SENDER, (), tuple(map(Recipient, ends)), notice.fields, notice.body), budget
        )

    def _take_back(self, notice: Notice, queue_id: str) -> None:
        try:
            self._notices.take_back(notice)
        except GatepostError as error:
            logger.error(
                "a notice stays noted as sent",
                queue_id=queue_id,
                recipient=notice.recipient.text,
                cause=cause(error),
            )
