"""
An event: what was decided for one recipient of one message, and how it went.

No body, matched secret or password stands in an event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Kind = Literal["message", "possible-duplicate", "release", "delivery"]
POSSIBLE_DUPLICATE: Final = "possible-duplicate"
"""Stands in the detail, too, of an event about a copy that may have come twice (RFC 1047)."""

DELIVERY: Final = "delivery"
"""The kind of what the mail server's log told of a copy; its queue ID is the copy's."""

KINDS: tuple[Kind, ...] = ("message", "possible-duplicate", "release", "delivery")


@dataclass(frozen=True, slots=True)
class Event:
    """One recipient's line in the record; `at` in seconds since the epoch; `detail` must fit into JSON."""

    at: float
    kind: Kind = "message"
    queue_id: str = ""
    message_id: str = ""
    direction: str = ""
    sender: str = ""
    recipient: str = ""
    demand: str = ""
    treatment: str = ""
    rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it stands in the record: the host whose milter wrote it, and its place in that host's chain."""

    host: str
    sequence: int
    event: Event


class Record(Protocol):
    """What has happened, written when there is time: many at once cost less than one by one."""

    def events(self) -> Sequence[Event]:
        """Give what is to be kept."""

    def tell(self) -> None:
        """Write the log's line."""
