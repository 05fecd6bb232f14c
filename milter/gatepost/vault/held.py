"""
Held copies: messages in quarantine, sealed so that whoever put them there cannot read them.

Rules:
  * A copy is held once its blob and then its row are durable; a blob without its row is unreadable rubbish.
  * The blob's data key lies in the row, wrapped to the vault's public half; only the key worker opens it.
  * Deleting the wrapped key deletes the message. Expiry, deletion and a finished release are one UPDATE each;
    the blob is removed afterwards, and nothing is lost if that fails.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from gatepost.crypto import seal
from gatepost.errors import CryptoError, StorageError, VaultError
from gatepost.message.address import Address
from gatepost.message.transaction import Client, Recipient, Transaction
from gatepost.vault.blobs import Blobs
from gatepost.vault.packed import pack, unpack


@dataclass(frozen=True, slots=True)
class Held:
    """
    One held copy as listed; the message itself is in the blob of that name.

    `recipients` are those for whom it is still held; `cause` says why, for people; times in UTC. `wrapped_key` is
    None once the message is gone; `state` is `held`, `released` or `deleted`.
    """

    id: UUID
    blob: UUID
    queue_id: str
    sender: Address
    parameters: tuple[str, ...]
    recipients: tuple[Recipient, ...]
    client: Client
    subject: str
    message_id: str
    cause: str
    rules: tuple[str, ...]
    since: datetime
    expires: datetime
    wrapped_key: bytes | None
    state: str = "held"
    released_at: datetime | None = None
    reason: str = ""


class HeldStore(Protocol):
    """Keeps the rows of held copies. Thread-safe; raises StorageError."""

    def add(self, held: Held) -> None:
        """Write a row, durably."""

    def matching(self, prefix: str) -> tuple[Held, ...]:
        """Give at most two rows, of any state, whose ID begins so; two tell that the prefix is not unique."""

    def waiting(self) -> tuple[Held, ...]:
        """Give every row that is held, oldest first."""

    def expired(self, now: datetime) -> tuple[Held, ...]:
        """Give every row that is held and whose time is over."""

    def narrow(self, held: Held, recipients: Sequence[Recipient], reason: str) -> bool:
        """Keep it for these recipients only; False, and nothing done, unless the row is as `held` shows it."""

    def close(self, held: Held, state: str, at: datetime, reason: str) -> bool:
        """Delete the wrapped key, set the state; False, and nothing done, unless the row is as `held` shows."""


class Quarantine:
    """Holds copies and lets them be read, narrowed and deleted. Thread-safe."""

    def __init__(
        self,
        *,
        store: HeldStore,
        blobs: Blobs,
        public: Callable[[], bytes],
        keep: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the way to the vault's public half, which may be rotated, and how long copies are kept."""
        self._store = store
        self._blobs = blobs
        self._public = public
        self.keep = keep
        self._clock = clock

    def hold(
        self,
        transaction: Transaction,
        recipients: Sequence[Recipient],
        *,
        subject: str,
        cause: str,
        rules: Sequence[str],
        name: UUID,
    ) -> Held:
        """
        Hold the message for these recipients, as it was received; durable before it returns.

        A copy of that `name` that was held before stays as it is, and is given back as its row tells. Each try
        writes a blob of its own, so that none can spoil the one that a row of another try names.
        """
        known = self._store.matching(str(name))
        if known:
            return known[0]
        copy = replace(transaction, recipients=tuple(recipients))
        data_key = seal.new_key()
        since = self._clock()
        held = Held(
            id=name,
            blob=uuid4(),
            queue_id=copy.queue_id,
            sender=copy.sender,
            parameters=copy.parameters,
            recipients=copy.recipients,
            client=copy.client,
            subject=subject,
            message_id=copy.message_id,
            cause=cause,
            rules=tuple(rules),
            since=since,
            expires=since + self.keep,
            wrapped_key=seal.wrap(self._public(), data_key, key_context(name)),
        )
        self._blobs.write(held.blob, seal.seal(pack(copy), data_key, held.blob.bytes))
        # A blob whose row fails stays: the row may have been written all the same, and the reply to it lost.
        self._store.add(held)
        return held

    def find(self, prefix: str) -> Held:
        """
        Give the copy whose ID begins so, if it is still held.

        Raises VaultError if there is none, or several, or it was released or deleted.
        """
        found = self._store.matching(prefix.lower())
        if not found:
            raise VaultError(f"no held copy has an ID that begins with {prefix!r}; see `gatepost quarantine list`")
        if len(found) > 1:
            raise VaultError(f"several held copies have IDs that begin with {prefix!r}; give more of it")
        held = found[0]
        if held.state != "held":
            raise VaultError(f"the copy {held.id} is held no longer: {held.state} ({held.reason})")
        if held.expires <= self._clock():
            self._close(held, "deleted", "expired")
            raise VaultError(f"the copy {held.id} is held no longer: its time was over on {held.expires:%Y-%m-%d}")
        return held

    def waiting(self) -> tuple[Held, ...]:
        """Give every held copy, oldest first; expired ones are deleted on the way."""
        self.purge()
        return self._store.waiting()

    def read(self, held: Held, data_key: bytes, spool_directory: Path | None = None) -> Transaction:
        """
        Read the message back, for the recipients for whom it is still held.

        Raises CryptoError where blob and row do not belong together, StorageError.
        """
        opened = seal.open_sealed(self._blobs.read(held.blob), data_key, held.blob.bytes)
        transaction = unpack(opened, spool_directory)
        if not set(held.recipients) <= set(transaction.recipients):
            raise CryptoError(
                f"the row of the held copy {held.id} names recipients that the message does not have"
            )
        return replace(transaction, recipients=held.recipients)

    def finish(self, held: Held, gone: Sequence[Recipient], reason: str) -> None:
        """Note that the copy went to these recipients; once none is left, the message is deleted."""
        left = tuple(one for one in held.recipients if one not in set(gone))
        done = self._store.narrow(held, left, reason) if left else self._close(held, "released", reason)
        if not done:
            raise VaultError(f"the copy {held.id} was changed by someone else meanwhile; it may have gone twice")

    def delete(self, held: Held, reason: str) -> None:
        """Delete a held copy for good; raises VaultError if someone else was quicker."""
        if not self._close(held, "deleted", reason):
            raise VaultError(f"the copy {held.id} was changed by someone else meanwhile; look again")

    def purge(self) -> int:
        """Delete every copy whose time is over; gives their number."""
        expired = self._store.expired(self._clock())
        return sum(self._close(held, "deleted", "expired") for held in expired)

    def _close(self, held: Held, state: str, reason: str) -> bool:
        done = self._store.close(held, state, self._clock(), reason)
        if done:
            self._remove_blob(held)
        return done

    def _remove_blob(self, held: Held) -> None:
        """Give the blob's room back; its key is gone already, so a failure loses nothing but room."""
        with suppress(StorageError):
            self._blobs.delete(held.blob)


def key_context(name: UUID) -> bytes:
    """Give the context under which a held copy's data key is wrapped."""
    return b"gatepost held " + name.bytes
