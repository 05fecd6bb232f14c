"""
Signing of outgoing mail: whose keys may sign a message, and the signed form of it.

Rules:
  * Signed is only what an inside client handed in, whose one From address and whose envelope sender are ours.
  * Mailing lists, reports, what has no sender, and what calls itself signed or encrypted already stay as they are.
  * The key worker chooses the key and does the rest; while it does not answer, what is to be signed waits.
"""

from collections.abc import Container, Iterable
from datetime import UTC, datetime
from pathlib import Path

from gatepost.crypto import multipart_signed
from gatepost.crypto.certificate import Reader, is_x509
from gatepost.crypto.own_signature import MAX_SIGNED, Signatory
from gatepost.crypto.x509 import parsed
from gatepost.decision.demand import Treatment
from gatepost.decision.facts import RecipientFacts
from gatepost.decision.signing import Signing
from gatepost.directory.key import Key, Keys, may_sign
from gatepost.errors import AddressError, CryptoError
from gatepost.gateway.budget import Budget
from gatepost.gateway.report import is_report
from gatepost.message import address
from gatepost.message.address import Address
from gatepost.message.author import author
from gatepost.message.body import Body
from gatepost.message.direction import Site
from gatepost.message.field import Field
from gatepost.message.seven_bit import UnsafeError, safe
from gatepost.message.transaction import Recipient, Transaction

_NAMES = {Treatment.SMIME: "certificate", Treatment.OPENPGP: "key"}


class UnsignableError(CryptoError):
    """A message cannot be signed as it is, whoever tries; the text says why."""


def author_of(transaction: Transaction) -> Address | None:
    """Give the one address in From; None where there are several, or none that is plainly written."""
    try:
        found = address.parse(f"<{author(transaction.fields)}>".encode())
    except AddressError:
        return None
    return None if found.is_null else found


class SigningKeys:
    """Tells which keys of ours may sign a message."""

    def __init__(self, *, when: str, required: bool, keys: Keys, reader: Reader, site: Site) -> None:
        """Take the settings `when` and `required`, the key table, what judges certificates, and what is ours."""
        self._settings = Signing(when=when, required=required)
        self._keys = keys
        self._reader = reader
        self._site = site

    @property
    def required(self) -> bool:
        """Whether what is to be signed must be."""
        return self._settings.required

    def of(
        self, transaction: Transaction, facts: Iterable[RecipientFacts], demanded: Container[Recipient]
    ) -> Signing:
        """
        Tell how a message from an inside client may be signed; `demanded` are those whose copy may be protected.

        No key is looked up where nobody's copy is to be signed, or the site has none.
        """
        settings = self._settings
        wanted = any(settings.wanted(one, protected=one.recipient in demanded) for one in facts)
        if not wanted or not self._keys.any_own():
            return settings
        sender, writer = transaction.sender, author_of(transaction)
        if why := _kept_as_it_is(transaction):
            return settings.refused(why)
        if writer is None:
            return settings.refused("From names no single address")
        if not self._site.is_internal(writer):
            return settings.refused(f"{writer.domain} in From is not ours")
        found = {kind: key for kind in _NAMES if (key := self._key(kind, writer, sender))}
        return Signing(settings.when, found, told=True, required=settings.required)

    def _key(self, kind: Treatment, writer: Address, sender: Address) -> str:
        for key in self._keys.find(writer, kind.value):
            if may_sign(key, writer, sender) and not self._refusal(key):
                return f"{_NAMES[kind]} of {key.owner}"
        return ""

    def _refusal(self, key: Key) -> str:
        try:
            if is_x509(key.certificate):
                return parsed(key.certificate).signing_refusal(datetime.now(UTC))
            return self._reader.read(key.certificate)[0].refusal  # whoever answers must be able to encrypt to it
        except CryptoError as error:
            return str(error)


def _kept_as_it_is(transaction: Transaction) -> str:
    if transaction.sender.is_null:
        return "it has no envelope sender"
    if any(field.key.startswith(b"list-") for field in transaction.fields):
        return "it is of a mailing list"
    if is_report(transaction):
        return "it is a report"
    if multipart_signed.is_sealed(transaction.fields):
        return "it is signed or encrypted already"
    return ""


class SignedForms:
    """Makes signed messages."""

    def __init__(self, signatory: Signatory, directory: Path | None = None) -> None:
        """Take who holds the private keys, and the directory in which large bodies are spooled."""
        self._signatory = signatory
        self._directory = directory

    def form(
        self, transaction: Transaction, content: Iterable[Field], kind: str, budget: Budget
    ) -> tuple[tuple[Field, ...], Body]:
        """
        Sign a message with its author's key of that kind; gives its new Content-* fields and body.

        Raises UnsignableError, and WorkerError where nobody signs now.
        """
        writer = author_of(transaction)
        if writer is None:
            raise UnsignableError("From names no single address")
        try:
            fields, body = safe(content, transaction.body, self._directory)
        except UnsafeError as error:
            raise UnsignableError(f"it could be changed on its way, and cannot be made safe: {error}") from None
        entity = multipart_signed.entity(fields, body, self._directory)
        if entity.size > MAX_SIGNED:
            raise UnsignableError(f"it is larger than {MAX_SIGNED >> 20} MiB")
        budget.tick()
        signature = self._signatory.sign(
            entity, kind, writer, transaction.sender, seconds=budget.for_waiting(), on_wait=budget.tick
        )
        if signature is None:
            raise UnsignableError(f"the key worker has no {kind} key of its author that signs")
        return multipart_signed.enclose(entity, signature, kind, self._directory)
