"""
What the gateway tells the mail server about one message.

A verdict is a value: the use cases compute it, tests compare it, the log prints it, and only then the milter
adapter performs it. Edits travel only with Accept: a message that is refused is never modified. There is no
default; code that cannot decide raises, and what was raised becomes a tempfail. RFC 5321 section 4.2, RFC 3463.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gatepost.message.address import Address
from gatepost.message.edit import Form


@dataclass(frozen=True, slots=True)
class Accept:
    """Let the message through: changed by `form`, no longer to the recipients in `removed`."""

    form: Form = Form()  # noqa: RUF009 - a frozen value
    removed: tuple[Address, ...] = ()
    headers_only_bounces: bool = False  # RET=HDRS: a bounce must not carry decrypted content outside


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop the original: every recipient's copy is durable elsewhere."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse for good: 550 5.7.1 with `lines` telling the sender each recipient and what to do."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TempFail:
    """
    Put off: 451 with an enhanced status code, and `lines` telling what it waits for, and why.

    `cause` is the word that is counted, `told` what the log says; without it, the lines.
    """

    lines: tuple[str, ...]
    enhanced: str
    cause: str
    told: str = ""


Verdict = Accept | Discard | Reject | TempFail


@dataclass(frozen=True, slots=True)
class Awaited:
    """
    No verdict yet: `begin` has rows written and tells once they are durable, or what was wrong.

    Only then `conclude` may be asked for the verdict. So no thread waits for the disk.
    """

    begin: Callable[[Callable[[Exception | None], None]], None]
    conclude: Callable[[], Verdict]
