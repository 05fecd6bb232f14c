"""
The answers of a look-up table to a mail server, as values.

A server that gets no answer, or TryAgain, defers the mail: that is how a policy service fails closed.
"""

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """The key was found; `text` is its value."""

    text: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such key: the server goes on without."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """No answer can be given now; `reason` is for the server's log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """This will never be answered; `reason` is for the server's log."""

    reason: str


Answer = Found | NotFound | TryAgain | Refused

LookUp = Callable[[str], Answer | Future[Answer]]
"""
One table: key in, answer out, at once; or a future of the answer, where something must be waited for.

It is called in the event loop's thread and never blocks. A future may be shared by many askers: none of them
cancels it.
"""
