"""
What is counted, as a port: how messages, copies and look-ups went. No address, subject or content goes in.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal, Protocol, TypeVar

from gatepost.decision.plan import Judgement
from gatepost.errors import (
    AddressError,
    AliasError,
    CryptoError,
    DeliveryError,
    DirectoryError,
    GatepostError,
    StorageError,
    WorkerError,
)
from gatepost.gateway.budget import Budget
from gatepost.gateway.submission import Submission, Submitter

Q = TypeVar("Q")
A = TypeVar("A")

Outcome = Literal["taken", "refused", "lost", "late"]
OUTCOMES: tuple[Outcome, ...] = ("taken", "refused", "lost", "late")

_CAUSES: dict[type[GatepostError], str] = {
    StorageError: "storage",
    WorkerError: "worker",
    DeliveryError: "delivery",
    AliasError: "alias",
    CryptoError: "crypto",
    AddressError: "address",
    DirectoryError: "storage",
}
UNKNOWN = "unknown"  # no rung was usable, and of one nobody knew whether it is
UNPROTECTED = "unprotected"  # mail from a partner came otherwise than its row asks
CAUSES = tuple(dict.fromkeys((*_CAUSES.values(), UNKNOWN, UNPROTECTED, "internal")))


class Metrics(Protocol):
    """Counts. Thread-safe; quick; never raises."""

    def answered(self, answer: str, seconds: float, judgements: Sequence[Judgement]) -> None:
        """Count a message that got a verdict, and what was decided for each recipient."""

    def put_off(self, cause: str) -> None:
        """Count a message that was put off, by one of CAUSES."""

    def submitted(self, outcome: Outcome, *, tls_route: bool) -> None:
        """Count a copy that was handed to a re-injection listener."""

    def arrived(self, decrypted: str, signed: str, recipients: int) -> None:
        """Count recipients of mail that came in, by what was found: words of the result field."""


class NoMetrics:
    """Counts nothing."""

    def answered(self, answer: str, seconds: float, judgements: Sequence[Judgement]) -> None:
        """Count nothing."""

    def put_off(self, cause: str) -> None:
        """Count nothing."""

    def submitted(self, outcome: Outcome, *, tls_route: bool) -> None:
        """Count nothing."""

    def arrived(self, decrypted: str, signed: str, recipients: int) -> None:
        """Count nothing."""


def word_of(error: BaseException) -> str:
    """Name the cause of a tempfail in one of CAUSES."""
    return next((word for kind, word in _CAUSES.items() if isinstance(error, kind)), "internal")


class CountedSubmitter:
    """A Submitter whose outcomes are counted."""

    def __init__(self, submitter: Submitter, metrics: Metrics) -> None:
        self._submitter = submitter
        self._metrics = metrics

    def submit(self, submission: Submission, budget: Budget) -> str:
        """Submit one copy; raises what the submitter raises."""
        outcome: Outcome = "late"  # the message's time was up
        try:
            reply = self._submitter.submit(submission, budget)
            outcome = "taken"
        except DeliveryError as error:
            outcome = "lost" if error.uncertain else "refused"
            raise
        finally:
            self._metrics.submitted(outcome, tls_route=submission.tls_route)
        return reply


class LookUps:
    """How many look-ups are under way that messages wait for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.under_way = 0

    def counted(self, look_up: Callable[[Q], A]) -> Callable[[Q], A]:
        """Give a look-up that counts itself while it is under way."""

        def count(question: Q) -> A:
            with self._lock:
                self.under_way += 1
            try:
                return look_up(question)
            finally:
                with self._lock:
                    self.under_way -= 1

        return count
