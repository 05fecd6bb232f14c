"""
Mail that comes in: opened where its outermost entity is encrypted and a key of the recipient's fits.

Only the outermost entity is ever opened, whole; where nothing proves its content, that is made harmless first. A
recipient gets what the keys of this recipient or of the recipient's domain open, and no one else's. What cannot be
opened arrives as it came, and so does what another author brought first.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gatepost.crypto import pgpmime
from gatepost.crypto.harmless import harmless
from gatepost.crypto.openpgp import Opened, Opener
from gatepost.decision.inbound import Inbound
from gatepost.directory.key import Keys
from gatepost.gateway import own_fields
from gatepost.gateway.budget import Budget
from gatepost.gateway.exchanges import Exchanges
from gatepost.gateway.protection import replaced_content
from gatepost.gateway.result import Result
from gatepost.gateway.room import Room
from gatepost.message import address, subject
from gatepost.message.address import Address
from gatepost.message.author import author
from gatepost.message.body import Body, Spool
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
    """Opens incoming mail and builds its forms."""

    def __init__(
        self,
        *,
        authserv_id: str,
        opener: Opener,
        keys: Keys,
        exchanges: Exchanges,
        in_thread: InThread,
        inline: bool,
        directory: Path | None = None,
    ) -> None:
        """Take, beside its neighbours, the directory in which large bodies are spooled."""
        self._authserv_id = authserv_id
        self._opener = opener
        self._keys = keys
        self._exchanges = exchanges
        self._in_thread = in_thread
        self._inline = inline
        self._directory = directory
        self._room = Room()

    def concerns(self, fields: Iterable[Field]) -> bool:
        """Tell from the header whether the body could be encrypted."""
        return pgpmime.may_be_encrypted(fields, inline=self._inline)

    def forms(
        self,
        transaction: Transaction,
        recipients: tuple[Recipient, ...],
        inbound: Inbound,
        budget: Budget,
        *,
        domain_keys: bool = True,
    ) -> tuple[Arrival, ...]:
        """
        Build the forms for the inside recipients, those who share one together; raises WorkerError.

        Without `domain_keys` only a recipient's own key opens it, and nobody is remembered as its addressee.
        """
        came = Result(came=inbound.came, flags=("unprotected",) if inbound.unmet else ())
        common = self._common_edits(transaction.fields)
        ciphertext = self._ciphertext(transaction, budget)
        if ciphertext is None:
            return (self._closed(recipients, common, came),)
        if self._is_replayed(ciphertext, transaction, recipients if domain_keys else (), budget):
            return (self._closed(recipients, common, replace(came, flags=(*came.flags, "replayed"))),)
        sender = author(transaction.fields)
        opened: dict[Opened, list[Recipient]] = {}
        closed = []
        for recipient in recipients:
            budget.tick()
            found = self._opener.open(
                ciphertext,
                recipient.alias or recipient.address,
                sender,
                seconds=budget.left(),
                on_wait=budget.tick,
                domain_keys=domain_keys,
            )
            if found is None:
                closed.append(recipient)
            else:
                opened.setdefault(found, []).append(recipient)
        forms = []
        for found, group in opened.items():
            entity = self._entity(found, budget)
            if entity is None:
                closed += group
            else:
                result = self._result(found, came, sender)
                forms.append(self._opened(tuple(group), common, entity, result, transaction.fields))
        if closed:
            result = replace(came, flags=(*came.flags, "undecryptable"))
            forms.append(self._closed(tuple(closed), common, result))
        return tuple(forms)

    def remember(self, transaction: Transaction, recipients: tuple[Recipient, ...], budget: Budget) -> None:
        """Remember what is held, if it is encrypted: whoever captured it is not the first. Raises StorageError."""
        ciphertext = self._ciphertext(transaction, budget) if self.concerns(transaction.fields) else None
        if ciphertext is not None:
            self._is_replayed(ciphertext, transaction, recipients, budget)

    def was_for(self, transaction: Transaction, address: Address, budget: Budget) -> bool | None:
        """Tell whether it came in encrypted for that address; None if that is not known. Raises StorageError."""
        ciphertext = self._ciphertext(transaction, budget)
        if ciphertext is None:
            return None
        with self._room.to_read(ciphertext, budget):
            return self._exchanges.was_for(ciphertext, transaction.fields, address)

    def _is_replayed(
        self, ciphertext: Body, transaction: Transaction, recipients: tuple[Recipient, ...], budget: Budget
    ) -> bool:
        with self._room.to_read(ciphertext, budget):
            return self._exchanges.is_replayed(ciphertext, transaction.fields, recipients)

    def _ciphertext(self, transaction: Transaction, budget: Budget) -> Body | None:
        body = transaction.body
        with self._room.to_read(body, budget):
            found = pgpmime.ciphertext(transaction.fields, body, inline=self._inline)
            if found is None:
                return None
            spool = Spool(self._directory)
            spool.write(found)
            return spool

    def is_encrypted(self, transaction: Transaction, budget: Budget) -> bool:
        """Tell whether the message is truly encrypted already: its packets are read, not its label."""
        with self._room.to_read(transaction.body, budget):
            return pgpmime.is_encrypted(transaction.fields, transaction.body)

    def _common_edits(self, fields: tuple[Field, ...]) -> tuple[Edit, ...]:
        """Take out forged fields, and the mark unless the mail belongs to a protected thread."""
        forged = own_fields.removed(fields, self._authserv_id.lower().encode("ascii"), for_outsiders=False)
        unmarked = subject.unmark_edits(fields)
        return forged if unmarked and self._in_thread(fields) else (*forged, *unmarked)

    def _closed(self, recipients: tuple[Recipient, ...], common: tuple[Edit, ...], result: Result) -> Arrival:
        return Arrival(recipients, Form((*common, *result.fields(self._authserv_id))), result)

    def _entity(self, opened: Opened, budget: Budget) -> tuple[tuple[Field, ...], Body] | None:
        """Give what was opened, harmless where nothing proves it; None where it cannot be made so."""
        if opened.intact:
            return pgpmime.open_entity(opened.plaintext, self._directory)

        with self._room.to_read(opened.plaintext, budget):
            found = harmless(opened.plaintext)
            if found is None:
                return None
            body = Spool(self._directory)
            body.write(found[1])
            return found[0], body

    def _opened(
        self,
        recipients: tuple[Recipient, ...],
        common: tuple[Edit, ...],
        entity: tuple[tuple[Field, ...], Body],
        result: Result,
        fields: tuple[Field, ...],
    ) -> Arrival:
        content, body = entity
        edits = (*common, *result.fields(self._authserv_id), *replaced_content(fields, content))
        return Arrival(recipients, Form(edits, body), result)

    def _result(self, opened: Opened, came: Result, sender: str) -> Result:
        status = opened.verification.status
        if status != "pass":
            neutralised = () if opened.intact else ("neutralised",)
            flags = (*came.flags, "unauthenticated", *neutralised)
            return replace(came, decrypted=opened.kind, signed=status, flags=flags)
        fingerprint = opened.verification.fingerprint
        signer = next(
            (
                key
                for key in self._keys.find(address.parse(sender.encode()), opened.kind)
                if key.fingerprint == fingerprint
            ),
            None,
        )
        return replace(
            came,
            decrypted=opened.kind,
            signed="pass",
            by=sender,
            key=fingerprint,
            trust=signer.trust.name.lower() if signer else "",
        )
