"""
The form of one outgoing copy: which fields change, and the body where it is encrypted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from gatepost.crypto import pgpmime
from gatepost.crypto.smime import Smime
from gatepost.decision.demand import Treatment
from gatepost.decision.plan import Copy
from gatepost.gateway import own_fields
from gatepost.gateway.budget import Budget
from gatepost.gateway.introduction import Introduction
from gatepost.gateway.signing import SignedForms
from gatepost.message import subject
from gatepost.message.body import Body
from gatepost.message.edit import Append, Change, Edit, Form
from gatepost.message.field import Field, named
from gatepost.message.subject import Tags
from gatepost.message.transaction import Transaction


class Encryption(Protocol):
    """Encrypts messages of any size. Thread-safe; raises CryptoError, WorkerError."""

    def encrypt(self, pieces: Iterable[bytes], certificates: Sequence[bytes], on_wait: Callable[[], None]) -> Body:
        """Encrypt to every certificate; gives ASCII armor. Calls `on_wait` every few seconds."""

    def close(self) -> None:
        """Let its processes go."""


ROUTE = b"Gatepost-Route"


class Protection:
    """Builds the forms of outgoing copies."""

    def __init__(
        self,
        *,
        authserv_id: str,
        tags: Tags,
        encryption: Encryption,
        smime: Smime,
        signed: SignedForms,
        introduction: Introduction,
        directory: Path | None = None,
    ) -> None:
        """Take, beside its neighbours, the directory in which large bodies are spooled."""
        self._authserv_id = authserv_id.lower().encode("ascii")
        self._tags = tags
        self._encryption = encryption
        self._smime = smime
        self._signed = signed
        self._introduction = introduction
        self._directory = directory

    def form(self, transaction: Transaction, copy: Copy, budget: Budget, *, for_outsiders: bool) -> Form:
        """Build one copy's form; nothing is sent. Raises UnsignableError where it cannot be signed as decided."""
        edits: list[Edit] = list(
            own_fields.removed(transaction.fields, self._authserv_id, for_outsiders=for_outsiders)
        )
        if copy.mark:
            edits.extend(subject.mark_edits(transaction.fields, self._tags))
        if copy.treatment is Treatment.TLS:
            edits.append(Append(ROUTE, b" " + copy.nexthop.encode("ascii")))
        found = self._content(transaction, copy, budget)
        if found is None:
            return Form(tuple(edits))
        content, body = found
        if "openpgp" in {copy.treatment, copy.signed}:
            edits.extend(self._introduction.edits(transaction))
        edits.extend(replaced_content(transaction.fields, content))
        return Form(tuple(edits), body)

    def _content(
        self, transaction: Transaction, copy: Copy, budget: Budget
    ) -> tuple[tuple[Field, ...], Body] | None:
        """Sign, then encrypt; gives the copy's own Content-* fields and body, None where it has no others."""
        content = tuple(filter(pgpmime.is_content, transaction.fields))
        body = transaction.body
        if copy.signed:
            content, body = self._signed.form(transaction, content, copy.signed, budget)
        plaintext = pgpmime.plaintext_of(content, body.chunks())
        match copy.treatment:
            case Treatment.OPENPGP:
                certificates = [key.certificate for key in copy.keys]
                armor = self._encryption.encrypt(plaintext, certificates, budget.wait)
                content_type, body = pgpmime.enclose(armor, self._directory)
                return (Field(b"Content-Type", content_type),), body
            case Treatment.SMIME:
                announced = {key.certificate: key.capabilities for key in copy.keys}
                return self._smime.enclose(
                    plaintext, tuple(announced), budget.wait, announced=announced, floor=copy.floor
                )
        return (content, body) if copy.signed else None

    def close(self) -> None:
        """Let the engine's processes go."""
        self._encryption.close()


def replaced_content(fields: Iterable[Field], content: Iterable[Field]) -> Iterator[Edit]:
    """Put other content fields (RFC 2045 section 3: `Content-*`) in the place of all that the header has."""
    fields, new = tuple(fields), list(content)
    seen: dict[bytes, int] = {}
    for field in fields:
        key = field.key
        if key.startswith(b"content-"):
            seen[key] = seen.get(key, 0) + 1
            replacement = next((one for one in new if one.key == key), None)
            if replacement is not None:
                new.remove(replacement)
            yield Change(field.name, seen[key], replacement.value if replacement else None)
    for field in new:
        yield Append(field.name, field.value)
    if not named(fields, b"mime-version"):
        yield Append(b"MIME-Version", b" 1.0")
