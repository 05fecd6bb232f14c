"""The loop that follows the log: a fault is told once and never ends it."""

import threading
from dataclasses import dataclass, field

import pytest
from lab.wait import until

from gatepost.errors import GatepostError, LogError, StorageError
from gatepost.workers import following
from gatepost.workers.following import follow
from gatepost.workers.turns import Turns


@dataclass
class Follower:
    """Notes its steps, and fails as it is told; ends after so many turns."""

    ended: threading.Event = field(default_factory=threading.Event)
    steps: list[str] = field(default_factory=list)
    faults: dict[str, list[GatepostError | None]] = field(default_factory=dict)
    turns: int = 5

    def look(self) -> int:
        return self._step("look")

    def note(self) -> int:
        return self._step("note")

    def close(self) -> None:
        self._step("close")

    def pulse(self) -> None:
        self.turns -= 1
        if not self.turns:
            self.ended.set()

    def _step(self, name: str) -> int:
        self.steps.append(name)
        planned = self.faults.get(name, [])
        if planned and (fault := planned.pop(0)) is not None:
            raise fault
        return 0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Note the log's lines."""
    told: list[tuple[str, object]] = []

    class Logger:
        def warning(self, event: str, **names: object) -> None:
            told.append((event, names["cause"]))

    monkeypatch.setattr(following, "logger", Logger())
    return told


def run(follower: Follower) -> None:
    follow(follower, follower.ended, follower.pulse, pause=0)


def test_turns(told: list[tuple[str, object]]) -> None:
    """Look and note take turns, and at the end the place is kept."""
    follower = Follower(turns=2)
    run(follower)
    assert follower.steps == ["look", "note", "look", "note", "close"]
    assert told == []


def test_a_fault_is_told_once(told: list[tuple[str, object]]) -> None:
    """One that stays is told once, another one too, and one that comes back after a good turn again."""
    gone, denied = LogError("mail.log: No such file"), LogError("mail.log: Permission denied")
    follower = Follower(faults={"look": [gone, gone, denied, None, denied]})
    run(follower)
    event = "the mail server's log cannot be read"
    assert told == [(event, str(gone)), (event, str(denied)), (event, str(denied))]
    assert follower.steps.count("note") == 5


def test_a_database_that_is_down(told: list[tuple[str, object]]) -> None:
    """It has a line of its own, and does not hide what is wrong with the log."""
    down = StorageError("the database is down")
    run(
        Follower(
            turns=3, faults={"note": [down, down, down], "look": [LogError("x"), LogError("x")], "close": [down]}
        )
    )
    waits = ("deliveries wait to be recorded", "the database is down")
    assert told == [("the mail server's log cannot be read", "x"), waits, waits]


def test_turns_go_on() -> None:
    """Whatever one turn raises, the next one comes; a fault that stays is told once."""
    told: list[str] = []
    calls = []

    def tell() -> int:
        calls.append(1)
        if len(calls) in {1, 2}:
            raise StorageError("down")
        return 0

    turning = Turns(tell, told.append, 0.001)
    until(lambda: len(calls) > 3, 30, "it is called again and again")
    turning.close()
    assert told == ["down"]


def test_the_first_turn_may_come_sooner() -> None:
    """A service that is started anew every few hours still has its turn."""
    calls: list[int] = []
    turning = Turns(lambda: calls.append(1), print, 3600.0, first=0.001)
    until(lambda: calls, 30, "it is called")
    turning.close()
    assert calls == [1]
