"""
Gatepost's own notices: what it tells people by mail.

Rules:
  * The envelope sender is null and `Auto-Submitted: auto-replied` is set, so no one answers and nothing loops
    (RFC 3834, RFC 5321 section 4.5.5).
  * A notice never goes to the null sender, a list, a robot or anyone outside; the admin gets it instead.
  * Nothing of a message is quoted but its subject.
  * The same notice goes once, see `telling`; one recipient gets at most so many an hour, then only the log tells.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from quopri import encodestring
from typing import Protocol
from uuid import uuid4

from gatepost.gateway.delivery import Copy
from gatepost.gateway.notice_text import (
    HELD,
    HELD_FROM_OUTSIDE,
    deferred_text,
    held_text,
    protected_text,
)
from gatepost.message.address import Address
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field, named
from gatepost.message.subject import decode, is_subject
from gatepost.message.transaction import Transaction

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,240}>")
_AUTOMATIC_LOCAL = re.compile(
    r"(?i)owner-.*|.*-(owner|request|bounces?)|no-?reply.*|do-?not-?reply.*|mailer-daemon|postmaster"
)
_BULK = re.compile(rb"(?i)\s*(bulk|list|junk)\b")
_SUBJECT_OCTETS = 4096


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of our own: one recipient, null envelope sender; `digest` names what it is about."""

    recipient: Address
    fields: tuple[Field, ...]
    body: MemoryBody
    digest: bytes


class NoticeLog(Protocol):
    """Remembers which notices went to whom. Thread-safe; raises StorageError."""

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:
        """Note a notice as sent; False if it went already or its recipient got `per_hour` in the last hour."""

    def forget(self, digest: bytes) -> None:
        """Take the note of a notice back."""


class Notices:
    """Writes notices, for those who may get one."""

    def __init__(
        self,
        *,
        log: NoticeLog,
        admin: Address,
        hostname: str,
        per_hour: int = 20,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the admin's address, which is also the notices' From:, and the name for Message-IDs."""
        self._log = log
        self._admin = admin
        self._hostname = hostname
        self._per_hour = per_hour
        self._clock = clock

    def held(
        self,
        transaction: Transaction,
        *,
        subject: str,
        held: Sequence[tuple[Address, str]],
        went: Sequence[Address],
        keep: timedelta,
        inside: bool,
    ) -> Notice:
        """
        Tell the sender which recipients' copy is held, and why, and who gets the message.

        `inside` tells that one of ours sent it: anybody else's sender address may be forged, so the admin is told,
        nobody else.
        """
        recipient = self._admin if not inside or is_automatic(transaction) else transaction.sender
        digest = _digest(b"held", transaction, [address for address, _ in held])
        told = HELD if inside else HELD_FROM_OUTSIDE
        text = held_text(told, transaction, subject, held=held, went=went, keep=keep)
        return self._notice(recipient, transaction.message_id, told.subject, text, digest)

    def protected(self, transaction: Transaction, protected: Sequence[tuple[Address, str]]) -> Notice | None:
        """Tell the sender which recipients' copy was protected, and how; None for a sender who is no person."""
        if is_automatic(transaction):
            return None
        digest = _digest(b"protected", transaction, [address for address, _ in protected])
        text = protected_text(transaction, subject_of(transaction), protected)
        return self._notice(transaction.sender, transaction.message_id, "Your message was protected", text, digest)

    def deferred(self, sender: Address | None, copies: Sequence[Copy], tag: str) -> Notice:
        """
        Tell the sender of one message which copies wait for a verified TLS connection, and what can be done.

        None stands for a sender who may get no notice: the admin is told. `tag` asks for encryption, if any does.
        """
        first = copies[0]
        about = (first.message_id or first.message, first.message, first.sender)
        digest = hashlib.sha256(b"\0".join([b"deferred", *(one.encode("utf-8", "replace") for one in about)]))
        text = deferred_text(copies, tag)
        title = "Your message has not been delivered yet"
        return self._notice(sender or self._admin, first.message_id, title, text, digest.digest())

    def to_admin(self, title: str, text: str, digest: bytes) -> Notice:
        """Write to the admin about something that no message brought; `digest` names it."""
        return self._notice(self._admin, "", title, text, digest)

    def about(self, transaction: Transaction, title: str, text: str) -> Notice:
        """Tell the sender, who is a person, what became of a message."""
        digest = _digest(title.encode(), transaction, [one.address for one in transaction.recipients])
        return self._notice(transaction.sender, transaction.message_id, title, text, digest)

    def claim(self, notice: Notice) -> bool:
        """
        Note a notice as sent, just before it is; False if it must not be.

        That is where it went before, or its recipient got too many in the last hour. Raises StorageError.
        """
        return self._log.claim(notice.digest, notice.recipient.text, self._clock(), self._per_hour)

    def take_back(self, notice: Notice) -> None:
        """Forget that a notice was noted, since it could not be sent. Raises StorageError."""
        self._log.forget(notice.digest)

    def _notice(self, recipient: Address, about: str, subject: str, text: str, digest: bytes) -> Notice:
        """Write a notice about the message of that Message-ID."""
        at = self._clock()
        encoding, body = _encoded(text)
        fields = [
            ("Date", format_datetime(at)),
            ("From", f"Mail gateway <{self._admin.text}>"),
            ("To", recipient.text),
            ("Subject", subject),
            ("Message-ID", f"<{uuid4()}@{self._hostname}>"),
            ("Auto-Submitted", "auto-replied"),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", encoding),
        ]
        if _MESSAGE_ID.fullmatch(about):
            fields += [("In-Reply-To", about), ("References", about)]
        return Notice(
            recipient=recipient,
            fields=tuple(Field(name.encode("ascii"), b" " + value.encode("utf-8")) for name, value in fields),
            body=MemoryBody(body),
            digest=digest,
        )


def subject_of(transaction: Transaction) -> str:
    """Give the subject as people read it; only so much of it as a list can show."""
    found = next((field for field in transaction.fields if is_subject(field)), None)
    return decode(found.value[:_SUBJECT_OCTETS]).strip() if found else ""


def is_automatic(transaction: Transaction) -> bool:
    """Tell whether a message comes from no person: null sender, list, bulk or robot (RFC 3834 section 2)."""
    sender, fields = transaction.sender, transaction.fields
    if sender.is_null or not sender.domain or _AUTOMATIC_LOCAL.fullmatch(sender.local):
        return True
    if any(field.key.startswith(b"list-") for field in fields):
        return True
    if any(_BULK.match(field.value) for field in named(fields, b"precedence")):
        return True
    return any(field.value.strip().lower() != b"no" for field in named(fields, b"auto-submitted"))


def _encoded(text: str) -> tuple[str, bytes]:
    """Give a text as a body of 7-bit lines with CRLF, and its transfer encoding."""
    data = text.encode("utf-8", "replace")
    if data.isascii() and max(map(len, data.split(b"\n"))) < 900:  # noqa: PLR2004 - RFC 5322 allows 998
        return "7bit", data.replace(b"\n", b"\r\n")
    return "quoted-printable", encodestring(data).replace(b"\n", b"\r\n")


def _digest(kind: bytes, transaction: Transaction, recipients: Sequence[Address]) -> bytes:
    """Name a notice by what it is about, so that a message that comes again does not bring a second one."""
    about = transaction.message_id or transaction.queue_id
    parts = (kind, transaction.sender.raw, about.encode("utf-8", "replace"), *(one.raw for one in recipients))
    return hashlib.sha256(b"\0".join(parts)).digest()
