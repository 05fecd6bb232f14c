"""
A stamp: what proves that a run of one host's events is as it was written.

A stamp holds a SHA-256 digest of each event of its run, the code of the stamp before it, and its own code: an HMAC
under a key that the key worker alone has. So nobody else can change, remove, insert or reorder what was stamped
and leave no trace. A stamp that covers no event tells that expiry has deleted earlier ones.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

DIGEST = 32  # octets: SHA-256, and HMAC under it
NOTHING = bytes(DIGEST)  # the code before the first stamp
ENDLESS = 1 << 62  # no sequence comes so far; in SQLite text counts as more than any number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stamp:
    """
    One link of a host's chain: its events `first` to `last`, by sequence.

    `purged` is 0, or the number of the last stamp that expiry has deleted together with its events.
    """

    host: str
    number: int
    at: datetime
    first: int
    last: int
    digests: bytes
    previous: bytes
    purged: int = 0
    code: bytes = b""

    def statement(self) -> bytes:
        """Give the SHA-256 of all that the stamp states; the code proves it."""
        microseconds = (self.at - _EPOCH) // timedelta(microseconds=1)
        head = ["stamp 1", self.host, self.number, microseconds, self.first, self.last, self.purged]
        return hashlib.sha256(json.dumps(head).encode() + b"\n" + self.previous + self.digests).digest()

    def places(self) -> dict[int, bytes]:
        """Give the digest of each event of the run by its sequence."""
        starts = range(0, len(self.digests), DIGEST)
        return {
            sequence: self.digests[start : start + DIGEST] for sequence, start in enumerate(starts, self.first)
        }


def digest_of(values: Sequence[object]) -> bytes:
    """
    Give the digest of an event by the values of its columns, but for its sequence: the stamp tells that.

    A value of a type that no event has, as only SQL beside us can write it, gives a digest as well.
    """
    return hashlib.sha256(json.dumps(["event 1", *values], default=repr).encode()).digest()
