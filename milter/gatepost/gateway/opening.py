"""
Opening: the layers of an incoming message, encrypted and signed, taken off from the outside.

Rules:
  * Only the outermost entity is looked at, whole, and what stands in its place once a layer is off.
  * A key opens a layer for its own address or domain only, so that recipients may get different contents.
  * The signature that counts is on the content itself; one around an envelope proves nothing of it, but is a fault
    where it is wrong.
  * What cannot be opened, or not be made harmless, stays as it came.
  * Encrypted parts inside other parts stay, and are told of; so does what another author brought first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gatepost.crypto import nested, pgpmime, signed_mail
from gatepost.crypto.harmless import harmless
from gatepost.crypto.openpgp import Opened, Opener
from gatepost.crypto.signature import SignatureError
from gatepost.gateway.budget import Budget
from gatepost.gateway.exchanges import Exchanges
from gatepost.gateway.result import Signature
from gatepost.gateway.room import Room
from gatepost.gateway.signatures import Signatures, Verified
from gatepost.message import mime
from gatepost.message.address import Address
from gatepost.message.author import author
from gatepost.message.body import Body, MemoryBody, Spool
from gatepost.message.field import Field
from gatepost.message.transaction import Recipient

MOST_LAYERS = 4  # of encryption

Entity = tuple[tuple[Field, ...], Body]


@dataclass(frozen=True, slots=True)
class Content:
    """
    What some recipients get of a message, and what is to be told of it.

    `entity` is None where the message stays as it came; `decrypted` and `flags` are words of the result.
    """

    recipients: tuple[Recipient, ...]
    entity: Entity | None
    decrypted: str = "no"
    signature: Signature = field(default_factory=Signature)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layer:
    """An entity under way: the encryptions taken off, the last of them, and the signature found so far."""

    entity: Entity
    depth: int = 0
    opened: Opened | None = None
    signature: Signature = field(default_factory=Signature)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where all layers came from: the message's own header and its author; and how many open by domain keys."""

    fields: tuple[Field, ...]
    author: str
    domain_layers: int = MOST_LAYERS


@dataclass(frozen=True, slots=True)
class _Look:
    """What an entity is: signed, and its content where that can be unwrapped; encrypted; and a word for it."""

    verified: Verified | None = None
    unwrapped: Entity | None = None
    ciphertext: Body | None = None
    flag: str = ""


class Opening:
    """Takes layers off incoming mail. Thread-safe."""

    def __init__(
        self,
        *,
        opener: Opener,
        signatures: Signatures,
        exchanges: Exchanges,
        inline: bool,
        directory: Path | None = None,
    ) -> None:
        """Take, beside its neighbours, whether armor as text is opened, and the directory for large bodies."""
        self._opener = opener
        self._signatures = signatures
        self._exchanges = exchanges
        self._inline = inline
        self._directory = directory
        self._room = Room()

    def concerns(self, fields: Iterable[Field]) -> bool:
        """Tell from the header whether the body must be looked at."""
        fields = tuple(fields)
        return pgpmime.may_be_encrypted(fields, inline=self._inline) or nested.may_hold_encrypted(fields)

    def is_encrypted(self, fields: Iterable[Field], body: Body, budget: Budget) -> bool:
        """Tell whether the message is truly encrypted: its packets are read, not its label."""
        with self._room.to_read(body, budget):
            return pgpmime.is_encrypted(fields, body)

    def remember(self, entity: Entity, recipients: tuple[Recipient, ...], budget: Budget) -> None:
        """Remember an encrypted message that is not opened, as if it were. Raises StorageError."""
        origin = _origin(entity)
        ciphertext = self._look(_Layer(entity), origin, budget).ciphertext
        if ciphertext is not None:
            self._is_replayed(ciphertext, origin, recipients, budget)

    def was_for(self, entity: Entity, address: Address, budget: Budget) -> bool | None:
        """Tell whether it came in encrypted for that address; None if that is not known. Raises StorageError."""
        ciphertext = self._look(_Layer(entity), _origin(entity), budget).ciphertext
        if ciphertext is None:
            return None
        with self._room.to_read(ciphertext, budget):
            return self._exchanges.was_for(ciphertext, entity[0], address)

    def contents(
        self,
        entity: Entity,
        recipients: tuple[Recipient, ...],
        budget: Budget,
        *,
        domain_layers: int = MOST_LAYERS,
    ) -> tuple[Content, ...]:
        """
        Give what each recipient gets of a message; those who get the same get it together.

        Keys of our domains open so many layers, from the outside; below these only a recipient's own key does, and
        nobody is remembered as the addressee.
        Raises WorkerError, StorageError.
        """
        if not self.concerns(entity[0]):
            return (Content(recipients, None),)
        origin = replace(_origin(entity), domain_layers=domain_layers)
        return self._contents(_Layer(entity), recipients, origin, budget).contents

    def _contents(
        self, layer: _Layer, recipients: tuple[Recipient, ...], origin: _Origin, budget: Budget
    ) -> "_Outcome":
        look = self._look(layer, origin, budget)
        if look.verified is not None:
            judged = self._signatures.judge(look.verified, origin.author)
            layer = replace(layer, signature=_both(layer.signature, judged))
        if look.ciphertext is None or layer.depth == MOST_LAYERS:
            flag = look.flag if look.ciphertext is None else "nested"
            return self._final(layer, look, recipients, (flag,) if flag else (), budget)
        domain_keys = layer.depth < origin.domain_layers
        if self._is_replayed(look.ciphertext, origin, recipients if domain_keys else (), budget):
            return self._final(layer, look, recipients, ("replayed",), budget)
        outcome, closed = _Outcome(), list[Recipient]()
        opened = self._opened(look.ciphertext, recipients, origin.author, budget, domain_keys=domain_keys)
        for found, group in opened.items():
            if found is None:
                closed += group
                continue
            inside = self._contents(self._inside(layer, found, origin.author), tuple(group), origin, budget)
            outcome = outcome.and_(inside)
            closed += inside.unclear
        outcome = replace(outcome, unclear=())
        if closed:
            last = self._final(layer, look, tuple(closed), ("undecryptable",), budget)
            outcome = outcome.and_(last)
        return outcome

    def _is_replayed(
        self, ciphertext: Body, origin: _Origin, addressees: tuple[Recipient, ...], budget: Budget
    ) -> bool:
        with self._room.to_read(ciphertext, budget):
            return self._exchanges.is_replayed(ciphertext, origin.fields, addressees)

    def _look(self, layer: _Layer, origin: _Origin, budget: Budget) -> _Look:
        """Find out what an entity is; large ones one at a time, since they are held in memory."""
        fields, body = layer.entity
        with self._room.to_read(body, budget):
            try:
                mail = signed_mail.signed_mail(fields, body)
            except SignatureError as error:
                fault = Verified(signed_mail.method_of(fields), None, opaque=False, fault=str(error))
                return _Look(fault, flag=self._flag(layer.entity, layer.depth))
            if mail is None:
                return self._within(_Look(), layer.entity, layer.depth)
            verified = self._signatures.verify(mail, origin.author, budget.wait)
            content = self._signed(verified)
            return self._within(_Look(verified, content if verified.opaque else None), content, layer.depth)

    def _signed(self, verified: Verified) -> Entity | None:
        """Give the entity that was signed; None where it has nothing that is looked for."""
        if verified.content is None:
            return None
        if verified.opaque:
            return pgpmime.open_entity(MemoryBody(verified.content), self._directory)
        found = mime.split_entity(verified.content)
        if found is None or not self.concerns(found[0]):
            return None
        return found[0], MemoryBody(found[1])

    def _within(self, look: _Look, entity: Entity | None, depth: int) -> _Look:
        """Look for what is encrypted in an entity: itself, or parts of it."""
        if entity is None:
            return look
        found = pgpmime.ciphertext(*entity, inline=self._inline)
        if found is None:
            return replace(look, flag=self._flag(entity, depth))
        spool = Spool(self._directory)
        spool.write(found)
        return replace(look, ciphertext=spool)

    def _flag(self, entity: Entity, depth: int) -> str:
        """Look for what is encrypted and stays so: parts, in a text only where its body is looked at anyway."""
        fields, body = entity
        if pgpmime.is_unprotected(fields, body, inline=self._inline):
            return "undecryptable"
        text = (self._inline or depth > 0) and pgpmime.media_type(fields) == b"text/plain"
        return "nested" if (text or nested.may_hold_encrypted(fields)) and nested.holds_encrypted(body) else ""

    def _opened(
        self, ciphertext: Body, recipients: Iterable[Recipient], author: str, budget: Budget, *, domain_keys: bool
    ) -> dict[Opened | None, list[Recipient]]:
        """Have each recipient's keys tried; those who get the same come together, None for what does not open."""
        found: dict[Opened | None, list[Recipient]] = {}
        for recipient in recipients:
            budget.tick()
            opened = self._opener.open(
                ciphertext,
                recipient.alias or recipient.address,
                author,
                seconds=budget.for_waiting(),
                on_wait=budget.tick,
                domain_keys=domain_keys,
            )
            found.setdefault(opened, []).append(recipient)
        return found

    def _inside(self, layer: _Layer, opened: Opened, author: str) -> _Layer:
        """Step into what was opened; of the signature around it only a fault counts on."""
        around = layer.signature if layer.signature.status == "fail" else Signature()
        own = self._signatures.of_opened(opened.verification, author)
        entity = pgpmime.open_entity(opened.plaintext, self._directory)
        return _Layer(entity, layer.depth + 1, opened, _both(replace(around, part=""), own))

    def _final(
        self,
        layer: _Layer,
        look: _Look,
        recipients: tuple[Recipient, ...],
        flags: tuple[str, ...],
        budget: Budget,
    ) -> "_Outcome":
        """Make what stands at this layer the content."""
        opened, signature = layer.opened, layer.signature
        if opened is None:
            return _Outcome((Content(recipients, None, signature=signature, flags=flags),))
        if not signature.good:
            flags = ("unauthenticated", *flags)
        entity: Entity | None = layer.entity
        if not opened.intact:
            entity, flags = self._harmless(opened.plaintext, budget), (*flags, "neutralised")
            signature = replace(signature, part="")
        elif look.unwrapped is not None:
            entity = look.unwrapped
            signature = replace(signature, part="")
        if entity is None:
            return _Outcome(unclear=recipients)
        return _Outcome((Content(recipients, entity, opened.kind, signature, flags),))

    def _harmless(self, plaintext: Body, budget: Budget) -> Entity | None:
        with self._room.to_read(plaintext, budget):
            found = harmless(plaintext)
            if found is None:
                return None
            body = Spool(self._directory)
            body.write(found[1])
            return found[0], body


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of some recipients' layers, and whose content cannot be made harmless."""

    contents: tuple[Content, ...] = ()
    unclear: tuple[Recipient, ...] = ()

    def and_(self, other: "_Outcome") -> "_Outcome":
        return _Outcome(self.contents + other.contents, self.unclear + other.unclear)


def _origin(entity: Entity) -> _Origin:
    return _Origin(entity[0], author(entity[0]))


def _both(one: Signature, other: Signature) -> Signature:
    """Join what two signatures tell: a fault, else the inner one."""
    if one.status == "fail" or other.status == "none":
        return one
    return other
