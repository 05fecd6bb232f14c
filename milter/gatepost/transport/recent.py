"""
Answers remembered for a moment, in front of a look-up that takes a while: what is asked often is answered at once.

An answer is given until it is `most` seconds old. One that is asked for when it is older than `fresh` is looked up
again behind the asker's back, so an answer in steady use never keeps anybody waiting. Equal questions that are
under way are asked once. How many are remembered and how many are under way is bounded, whatever is asked for.
"""

import asyncio
from asyncio import Future, Task
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from gatepost.errors import cause
from gatepost.log import logger
from gatepost.transport.answer import Answer, TryAgain

_FRESH = 1.0  # seconds
_MOST = 2.5  # seconds; with the partner table's own two, an edit is seen within five
_ENTRIES = 5000
_UNDER_WAY = 1000
_BUSY = TryAgain("too many next hops are being looked up now")


@dataclass(frozen=True, slots=True)
class Ages:
    """Up to which age in seconds an answer is not asked for again, and up to which it is given."""

    fresh: float = _FRESH
    most: float = _MOST


class RecentAnswers:
    """A table in front of an asynchronous look-up; a `LookUp`. For one event loop."""

    def __init__(
        self,
        look_up: Callable[[str], Coroutine[None, None, Answer]],
        *,
        ages: Ages = Ages(),
        entries: int = _ENTRIES,
        under_way: int = _UNDER_WAY,
    ) -> None:
        self._look_up = look_up
        self._ages = ages
        self._most_entries = entries
        self._most_under_way = under_way
        self._answers: dict[str, tuple[float, Answer]] = {}  # when it was looked up, by the loop's clock
        self._under_way: dict[str, Task[Answer]] = {}

    def __call__(self, key: str) -> Answer | Future[Answer]:
        """Give the answer that is remembered, else a future that all who ask for the same key share."""
        known = self._answers.get(key)
        if known is not None:
            age = asyncio.get_running_loop().time() - known[0]
            if age < self._ages.fresh:
                return known[1]
            if age < self._ages.most:
                self._begin(key)
                return known[1]
        return self._begin(key) or _BUSY

    def _begin(self, key: str) -> Task[Answer] | None:
        """Look a key up, unless that is under way already; None where too much is."""
        task = self._under_way.get(key)
        if task is None and len(self._under_way) < self._most_under_way:
            task = self._under_way[key] = asyncio.get_running_loop().create_task(self._look_up(key))
            task.add_done_callback(lambda done: self._end(key, done))
        return task

    def _end(self, key: str, task: Task[Answer]) -> None:
        del self._under_way[key]
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            logger.error("a policy look-up failed", cause=cause(error))
            return
        self._answers.pop(key, None)  # what is new stands last: the first is the one not asked for the longest
        self._answers[key] = (task.get_loop().time(), task.result())
        if len(self._answers) > self._most_entries:
            del self._answers[next(iter(self._answers))]
