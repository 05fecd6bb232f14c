"""
What a check of `gatepost doctor` found: a line with its remedy, and maybe the repair itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from gatepost.errors import GatepostError


class Status(StrEnum):
    """How bad a finding is: `fail` means that the promise does not hold or mail does not flow."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; `repair` does what the remedy says, if a program can."""

    status: Status
    what: str
    remedy: str = ""
    repair: Callable[[], object] | None = field(default=None, compare=False, repr=False)


def ok(what: str) -> Finding:
    """Report that something is as it should be."""
    return Finding(Status.OK, what)


def warn(what: str, remedy: str) -> Finding:
    """Report what may surprise the admin."""
    return Finding(Status.WARN, what, remedy)


def fail(what: str, remedy: str, repair: Callable[[], object] | None = None) -> Finding:
    """Report what breaks the promise or the flow of mail."""
    return Finding(Status.FAIL, what, remedy, repair)


def trial(
    what: str, action: Callable[[], object], repair: Callable[[], object] | None = None
) -> Iterator[Finding]:
    """Try `action`: ok, or a failure per fault that its error tells."""
    try:
        action()
    except GatepostError as error:
        for fault in error.diagnostics():
            yield fail(what, fault, repair)
    except OSError as error:
        yield fail(what, f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), repair)
    else:
        yield ok(what)
