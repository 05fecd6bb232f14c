"""
Mail that comes in: the forms in which the inside recipients get it, and what each is told about it.

What cannot be opened arrives as it came, and so does what another author brought first. Fields and marks that only
this gateway writes are taken out of all mail.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gatepost.decision.inbound import Inbound
from gatepost.gateway import own_fields
from gatepost.gateway.budget import Budget
from gatepost.gateway.opening import MOST_LAYERS, Content, Opening
from gatepost.gateway.protection import replaced_content
from gatepost.gateway.result import Result
from gatepost.message import subject, warning
from gatepost.message.address import Address
from gatepost.message.edit import Edit, Form
from gatepost.message.field import Field
from gatepost.message.transaction import Recipient, Transaction

InThread = Callable[[Iterable[Field]], bool]
"""Tells whether a header names a Message-ID of a protected thread."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One form of an incoming message and the recipients who get it."""

    recipients: tuple[Recipient, ...]
    form: Form
    result: Result


class Arrivals:
    """Has incoming mail opened and builds its forms."""

    def __init__(self, *, authserv_id: str, opening: Opening, in_thread: InThread, warn: bool) -> None:
        """Take, beside its neighbours, whether the Subject warns of opened mail that is unauthenticated."""
        self._authserv_id = authserv_id
        self._opening = opening
        self._in_thread = in_thread
        self._warn = warn

    def concerns(self, fields: Iterable[Field]) -> bool:
        """Tell from the header whether the body must be looked at."""
        return self._opening.concerns(fields)

    def is_encrypted(self, transaction: Transaction, budget: Budget) -> bool:
        """Tell whether the message is truly encrypted already: its packets are read, not its label."""
        return self._opening.is_encrypted(transaction.fields, transaction.body, budget)

    def remember(self, transaction: Transaction, recipients: tuple[Recipient, ...], budget: Budget) -> None:
        """Remember what is held, if it is encrypted: whoever captured it is not the first. Raises StorageError."""
        if self.concerns(transaction.fields):
            self._opening.remember((transaction.fields, transaction.body), recipients, budget)

    def was_for(self, transaction: Transaction, address: Address, budget: Budget) -> bool | None:
        """Tell whether it came in encrypted for that address; None if that is not known. Raises StorageError."""
        return self._opening.was_for((transaction.fields, transaction.body), address, budget)

    def forms(
        self,
        transaction: Transaction,
        recipients: tuple[Recipient, ...],
        inbound: Inbound,
        budget: Budget,
        *,
        domain_layers: int = MOST_LAYERS,
    ) -> tuple[Arrival, ...]:
        """
        Build the forms for the inside recipients, those who share one together.

        Keys of our domains open so many layers, from the outside; below these only a recipient's own key does.
        Raises WorkerError, StorageError.
        """
        came = Result(came=inbound.came, flags=("unprotected",) if inbound.unmet else ())
        entity = transaction.fields, transaction.body
        contents = self._opening.contents(entity, recipients, budget, domain_layers=domain_layers)
        return tuple([self._arrival(transaction.fields, one, came) for one in contents])

    def _arrival(self, fields: tuple[Field, ...], content: Content, came: Result) -> Arrival:
        result = replace(
            came,
            decrypted=content.decrypted,
            signature=content.signature,
            flags=(*came.flags, *content.flags),
        )
        edits = (*self._common_edits(fields, result), *result.fields(self._authserv_id))
        if content.entity is None:
            return Arrival(content.recipients, Form(edits), result)
        described, body = content.entity
        return Arrival(content.recipients, Form((*edits, *replaced_content(fields, described)), body), result)

    def _common_edits(self, fields: tuple[Field, ...], result: Result) -> tuple[Edit, ...]:
        """Take out forged fields, and the mark unless the mail belongs to a protected thread; warn where due."""
        forged = own_fields.removed(fields, self._authserv_id.lower().encode("ascii"), for_outsiders=False)
        unmarked = subject.unmark_edits(fields)
        unmark = bool(unmarked) and not self._in_thread(fields)
        if self._warn and "unauthenticated" in result.flags:
            return (*forged, *warning.warn_edits(fields, unmark=unmark))
        return (*forged, *unmarked) if unmark else forged
