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
from gatepost.directory.key import Key
from gatepost.gateway import own_fields
from gatepost.gateway.budget import Budget
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
        self, *, authserv_id: str, tags: Tags, encryption: Encryption, smime: Smime, directory: Path | None = None
    ) -> None:
        """Take, beside its neighbours, the directory in which large bodies are spooled."""
        self._authserv_id = authserv_id.lower().encode("ascii")
        self._tags = tags
        self._encryption = encryption
        self._smime = smime
        self._directory = directory

    def form(self, transaction: Transaction, copy: Copy, budget: Budget, *, for_outsiders: bool) -> Form:
        """Build one copy's form; nothing is sent."""
        edits: list[Edit] = list(
            own_fields.removed(transaction.fields, self._authserv_id, for_outsiders=for_outsiders)
        )
        if copy.mark:
            edits.extend(subject.mark_edits(transaction.fields, self._tags))
        match copy.treatment:
            case Treatment.OPENPGP:
                content_type, body = pgpmime.enclose(self._armor(transaction, copy.keys, budget), self._directory)
                edits.extend(replaced_content(transaction.fields, (Field(b"Content-Type", content_type),)))
                return Form(tuple(edits), body)
            case Treatment.SMIME:
                plaintext = pgpmime.plaintext_of(transaction.fields, transaction.body.chunks())
                certificates = [key.certificate for key in copy.keys]
                content, body = self._smime.enclose(plaintext, certificates, budget.tick)
                edits.extend(replaced_content(transaction.fields, content))
                return Form(tuple(edits), body)
            case Treatment.TLS:
                edits.append(Append(ROUTE, b" " + copy.nexthop.encode("ascii")))
        return Form(tuple(edits))

    def close(self) -> None:
        """Let the engine's processes go."""
        self._encryption.close()

    def _armor(self, transaction: Transaction, keys: Sequence[Key], budget: Budget) -> Body:
        plaintext = pgpmime.plaintext_of(transaction.fields, transaction.body.chunks())
        return self._encryption.encrypt(plaintext, [key.certificate for key in keys], budget.tick)


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
