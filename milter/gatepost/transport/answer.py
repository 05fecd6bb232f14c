"""
The answers of a look-up table to a mail server, as values.

A server that gets no answer, or TryAgain, defers the mail: that is how a policy service fails closed.
"""

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

LookUp = Callable[[str], Answer]
"""One table: key in, answer out; quick, and never waiting for the network."""
