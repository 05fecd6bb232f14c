"""
Keys and certificates that expire: the admin is told in good time.

Rules:
  * Each is told once for each of the days named in the settings, whichever host looks, and however often.
  * Told is what leaves a gap: a key whose owner has another of its kind that lasts longer is not.
  * What has been told stands in the log as well. Where the notice could not be sent, it is told at the next look.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from gatepost.errors import DeliveryError, GatepostError, cause
from gatepost.gateway.budget import Budget
from gatepost.gateway.notice_text import expiring_text
from gatepost.gateway.notices import Notices
from gatepost.gateway.telling import Telling
from gatepost.log import logger


@dataclass(frozen=True, slots=True)
class Ending:
    """
    A key, a certificate or the site's authority that expires, in UTC.

    `kind` is "openpgp", "smime" or "authority"; `own` tells that it is one of ours.
    """

    fingerprint: str
    kind: str
    owner: str
    own: bool
    expires: datetime

    @property
    def what(self) -> str:
        """What it is, for people."""
        if self.kind == "authority":
            return "the site's authority for certificates"
        whose = "our" if self.own else "their"
        return f"{whose} {'OpenPGP key' if self.kind == 'openpgp' else 'certificate'} of {self.owner}"

    def remedy(self) -> str:
        """Tell what the admin can do, in one clause."""
        if self.kind == "authority":
            return "`gatepost key generate smime` with --new-ca makes its successor; give that to partners"
        if self.own:
            return f"`gatepost key generate {self.kind} --for {self.owner}`, and give the new one to partners"
        return "ask the partner for a new one, and import it"


class Endings(Protocol):
    """Tells what expires. Raises StorageError."""

    def between(self, now: datetime, until: datetime) -> tuple[Ending, ...]:
        """Give what is in use and expires between two moments, the first to expire first."""


class TellingLog(Protocol):
    """Remembers what was told. Raises StorageError."""

    def claim_new(self, digests: Sequence[bytes], at: datetime) -> frozenset[bytes]:
        """Note what is about to be told, and give those that nobody had noted."""

    def forget(self, digest: bytes) -> None:
        """Take a note back."""


class Expiring:
    """Tells the admin what expires."""

    def __init__(
        self,
        *,
        endings: Endings,
        log: TellingLog,
        notices: Notices,
        telling: Telling,
        days: Sequence[int],
        patience: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take on how many days before the end it is told, and the seconds that a notice may take."""
        self._endings = endings
        self._log = log
        self._notices = notices
        self._telling = telling
        self._days = sorted(days)
        self._patience = patience
        self._clock = clock

    def tell(self) -> int:
        """Tell what is due, and give how many that were; raises GatepostError if it was not sent."""
        now = self._clock()
        marked = {_mark(one, self._due(one, now)): one for one in self._coming(now)}
        claimed = self._log.claim_new(tuple(marked), now) if marked else frozenset()
        due = {mark: one for mark, one in marked.items() if mark in claimed}
        if due:
            self._send(due)
        return len(due)

    def _coming(self, now: datetime) -> tuple[Ending, ...]:
        return self._endings.between(now, now + timedelta(days=self._days[-1])) if self._days else ()

    def _due(self, one: Ending, now: datetime) -> int:
        return next(days for days in self._days if one.expires - now <= timedelta(days=days))

    def _send(self, due: dict[bytes, Ending]) -> None:
        told = tuple(due.values())
        lines = [f"{one.expires:%Y-%m-%d}: {one.what} ({one.fingerprint[-16:]})" for one in told]
        text = expiring_text(lines, sorted({one.remedy() for one in told}))
        digest = hashlib.sha256(b"".join(due)).digest()
        notice = self._notices.to_admin("Keys and certificates expire soon", text, digest)
        try:
            self._telling.send(notice, Budget(self._patience, lambda: None))
        except GatepostError as error:
            if not (isinstance(error, DeliveryError) and error.uncertain):  # it has not gone
                for mark in due:
                    self._log.forget(mark)
                raise
            logger.error("a notice was not sent", queue_id="", recipient=notice.recipient.text, cause=cause(error))
        logger.warning("keys or certificates expire soon", keys=lines)


def _mark(one: Ending, days: int) -> bytes:
    """Name what is told; a key whose life was prolonged is told anew."""
    about = ("expiring", one.fingerprint, one.owner, one.expires.isoformat(), str(days))
    return hashlib.sha256("\0".join(about).encode("utf-8", "replace")).digest()
