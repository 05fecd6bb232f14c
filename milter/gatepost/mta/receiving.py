"""
A message being received: filled callback by callback, then frozen into a Transaction.

It lives from MAIL to the end of the message, an abort or a refusal; the connection outlives it. A fault in a
callback that must not answer is noted here and answered at the end of the message.
"""

from contextlib import suppress
from pathlib import Path

from gatepost.gateway.survey import Survey
from gatepost.message.address import NULL_SENDER
from gatepost.message.body import Spool
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction


class Receiving:
    """What has come so far of one message."""

    __slots__ = (
        "_frozen",
        "client",
        "fault",
        "fields",
        "parameters",
        "recipients",
        "refusal",
        "sender",
        "spool",
        "survey",
        "without_smtp",
    )

    def __init__(self, spool_directory: Path) -> None:
        self.client = Client()
        self.sender = NULL_SENDER
        self.parameters: tuple[str, ...] = ()
        self.recipients: list[Recipient] = []
        self.fields: list[tuple[str, bytes]] = []
        self.spool = Spool(spool_directory)
        self.survey: Survey | None = None
        self.fault: BaseException | None = None
        self._frozen: tuple[Field, ...] | None = None
        self.without_smtp = False
        self.refusal: tuple[str, str] | None = None  # enhanced status code and text

    @property
    def needs_body(self) -> bool:
        """Whether the body may be needed; so it is as long as nobody knows."""
        return self.survey is None or self.survey.needs_body

    def surveyed(self) -> Survey:
        """Give what was found at the end of the header; raises the fault that was noted."""
        if self.fault is not None:
            raise self.fault
        if self.survey is None:
            raise RuntimeError("the mail server left out the end of the header")
        return self.survey

    def transaction(self, queue_id: str) -> Transaction:
        """
        Freeze what was received, from the end of the header on.

        Raises UnicodeEncodeError for a field whose name is not ASCII.
        """
        if self._frozen is None:
            self._frozen = tuple([Field(name.encode("ascii"), value) for name, value in self.fields])
        return Transaction(
            client=self.client,
            sender=self.sender,
            parameters=self.parameters,
            recipients=tuple(self.recipients),
            fields=self._frozen,
            body=self.spool,
            queue_id=queue_id,
        )

    def drop(self) -> None:
        """Give the spool back to the system."""
        with suppress(OSError):  # what a full disk did not take is dropped as well
            self.spool.close()
