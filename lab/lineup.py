"""
A line-up: many messages, each stopped at a place of its own, so that one fault meets all of them.

A place is a step of the protocol (see lab.proxy), counted per message: `Place("smtp>MAIL", 2)` is where the second
copy begins. Counting begins anew with each try. A fault of the listener is no strike but an action at a place.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.trap import Action, Cut, Passing
from lab.wait import until

_LONGEST = 120.0  # seconds that a message stands, lest a failed test hang


@dataclass(frozen=True, slots=True)
class Place:
    """The `nth` time that a message comes to a step; `after` means: once it is forwarded."""

    step: str
    nth: int = 1
    after: bool = False


@dataclass(slots=True)
class _Stand:
    action: Action
    gate: threading.Event
    reached: threading.Event = field(default_factory=threading.Event)


class Lineup:
    """A watcher of proxies. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._stands: dict[tuple[str, Place], _Stand] = {}
        self._reached: list[_Stand] = []
        self._gate = threading.Event()
        self._over = threading.Event()

    def stop(self, message: str, place: Place, action: Action = None) -> Callable[[], bool]:
        """Stop a message at a place until `go`, then act; gives a question whether it stands there."""
        return self._expect(message, place, action, self._gate)

    def act(self, message: str, place: Place, action: Action) -> Callable[[], bool]:
        """Do this, once, when a message comes to a place; gives a question whether it did."""
        passed = threading.Event()
        passed.set()
        return self._expect(message, place, action, passed)

    def hang(self, message: str, place: Place) -> Callable[[], bool]:
        """Let a message hang at a place until `over`, then cut it off."""
        return self._expect(message, place, Cut(), self._over)

    def _expect(self, message: str, place: Place, action: Action, gate: threading.Event) -> Callable[[], bool]:
        stand = _Stand(action, gate)
        with self._lock:
            self._stands[message, place] = stand
        return stand.reached.is_set

    def go(self) -> None:
        """Let all who stand go on; whoever is stopped from now on stands for the next `go`."""
        with self._lock:
            gate, self._gate = self._gate, threading.Event()
        gate.set()

    def over(self) -> None:
        """End every hang."""
        with self._lock:
            over, self._over = self._over, threading.Event()
        over.set()

    def clear(self) -> None:
        """Forget every place that nobody came to."""
        with self._lock:
            self._stands.clear()
            self._counts.clear()

    def pass_by(self, passing: Passing) -> Action:
        """Count a step of a message, and hold the message or act, where that was asked for."""
        if not passing.message:
            return None
        with self._lock:
            counts = self._counts[passing.message]
            if not passing.forwarded:
                if passing.step == ">MAIL":
                    counts.clear()
                counts[passing.step] += 1
            place = Place(passing.step, counts[passing.step], passing.forwarded)
            stand = self._stands.pop((passing.message, place), None)
        if stand is None:
            return None
        stand.reached.set()
        stand.gate.wait(_LONGEST)
        return stand.action


def wait_for_all(standing: dict[str, Callable[[], bool]], timeout: float = 25) -> None:
    """Wait until every question is answered with yes; raise TimeoutError naming who is missing."""

    def missing() -> list[str]:
        return [name for name, reached in standing.items() if not reached()]

    until(lambda: not missing(), timeout, lambda: f"these come to their place: {', '.join(missing())}")
