"""
Deferral: a copy that may go by verified TLS alone waits, and its sender learns of it.

Rules:
  * The mail server's own word counts: a copy waits too long once a delivery was deferred after that time. A log
    that was not read lately makes nobody believe that something waits.
  * Each message is told once, with all of its copies that wait then.
  * A sender who is outside, or no person, gets no notice: the admin does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from gatepost.errors import AddressError
from gatepost.gateway.budget import Budget
from gatepost.gateway.delivery import Copy
from gatepost.gateway.notices import Notices
from gatepost.gateway.telling import Telling
from gatepost.message import address
from gatepost.message.address import Address


class Waiting(Protocol):
    """One host's copies that wait. Raises StorageError."""

    def untold(self, seconds: int) -> Sequence[Copy]:
        """
        Give the copies by TLS that are deferred, of every message that has one deferred for so long.

        Messages whose sender was told are left out; copies of one message follow each other.
        """

    def tell(self, message: str) -> None:
        """Note that the sender of a message was told."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """Tells senders. `tag` asks for encryption, empty: none does; `patience` is what one notice may take."""

    waiting: Waiting
    notices: Notices
    telling: Telling
    is_internal: Callable[[Address], bool]
    tag: str
    after_seconds: int
    patience: float

    def tell(self) -> int:
        """Tell whoever is to be told, and give for how many messages that is settled; raises StorageError."""
        number = 0
        copies = self.waiting.untold(self.after_seconds)
        for message, found in groupby(copies, key=lambda one: one.message):
            of_message = tuple(found)
            notice = self.notices.deferred(self._sender(of_message[0]), of_message, self.tag)
            if self.telling.tell(notice, Budget(self.patience, lambda: None), message):
                self.waiting.tell(message)
                number += 1
        return number

    def _sender(self, copy: Copy) -> Address | None:
        """Give the sender if a notice may go there."""
        if copy.automatic or not copy.sender:
            return None
        try:
            sender = address.parse(copy.sender.encode("utf-8"))
        except AddressError:
            return None
        return sender if self.is_internal(sender) else None
