"""
The lead: one thread serves all conversations, step by step; where a step takes long, another takes the lead.

Threads that share one interpreter fight for its lock at each reading and writing. So there is one, as long as
steps take less than some milliseconds, which nearly all do. Who is about to wait for others steps aside, and a
watch looks on: who is at one step for long keeps that conversation until the step is done, and another thread goes
on with the rest. A conversation that waits for rows to be on disk does so without a thread.

Rules:
  * A conversation is served by one thread at a time: while its step is under way elsewhere, it is not listened to,
    and what it waited for waits for it.
  * What it waits for ends by a deadline, whether it is told of or not.
  * Whatever a step raises ends its conversation: the mail server then puts the mail off (`default_action`).
"""

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from typing import Protocol

from gatepost.errors import cause
from gatepost.log import logger
from gatepost.mta.waits import Done, Wait, Waits

_LONG = 0.01  # seconds; a step that lasts between one and two of these loses the lead
_QUIET = 100  # looks of the watch at nothing, after which it sleeps until there is a step
_LOOK = 1.0  # seconds after which it is seen to what waits for too long
_PAUSE = 1.0  # seconds after a thread that this host did not give
_UNHEARD = suppress(OSError, ValueError)  # stderr is gone: nobody can be told, and mail goes on
_PARKED = 8  # threads that have lost the lead and wait to take it again


class Served(Protocol):
    """A conversation."""

    def fileno(self) -> int:
        """Give the descriptor of its connection, the same until `close` has returned."""

    def serve(self) -> bool:
        """Take what has come, and answer; False where it is over."""

    def conclude(self, error: Exception | None) -> bool:
        """Go on with what waited, which is there now or failed; False where it is over."""

    def close(self) -> None:
        """Let the session and the connection go."""


@dataclass(eq=False, slots=True)
class _Step:
    """
    A step under way, the last one where it is `over`.

    `concluded` is what came for this conversation since another thread has the lead.
    """

    served: Served
    over: bool = False
    overtaken: bool = False
    concluded: list[Wait[Served]] = field(default_factory=list)


class Lead:
    """Serves conversations until it is closed. Thread-safe."""

    def __init__(self) -> None:
        """Begin; raises OSError, RuntimeError where this host gives no descriptor or thread."""
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._bell = FileIO(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "r+")
        self._epoll.register(self._bell, select.EPOLLIN)
        self._served: dict[int, Served] = {}
        self._away: dict[Served, _Step] = {}  # whose steps are under way in threads that have lost the lead
        self._waits: Waits[Served] = Waits(self._ring)
        self._parked: list[threading.Semaphore] = []
        self._step: _Step | None = None  # that of the thread that has the lead
        self._busy = threading.Event()
        self._closed = False
        threading.Thread(target=self._run, name="milter", daemon=True).start()
        threading.Thread(target=self._watch, name="milter watch", daemon=True).start()

    def take(self, served: Served) -> None:
        """Serve one more; raises OSError where this host cannot."""
        with self._lock:
            self._served[served.fileno()] = served
            try:
                self._epoll.register(served.fileno(), select.EPOLLIN)
            except OSError:
                del self._served[served.fileno()]
                raise

    def expect(self, served: Served, begin: Callable[[Done], None], seconds: float) -> None:
        """
        Begin what a conversation waits for; its `conclude` is called once that is done.

        After `seconds` it is called with a StorageError, and what is done later counts no more. Raises what
        `begin` does; then nothing is waited for.
        """
        self._waits.begin(served, begin, seconds)

    def aside(self, served: Served) -> None:
        """Let another thread go on with the others: this conversation's step is about to wait for something."""
        step = self._step
        if step is not None and step.served is served:
            self._overtake(step)

    def close(self) -> None:
        """Serve no more: what is open is let go, once a step that is under way is done."""
        with self._lock:
            self._closed = True
            parked, self._parked = self._parked, []
        for one in parked:
            one.release()
        self._busy.set()
        self._ring()

    def _ring(self) -> None:
        os.eventfd_write(self._bell.fileno(), 1)

    def _hear(self) -> None:
        with suppress(BlockingIOError):  # who had the lead before has heard it
            os.eventfd_read(self._bell.fileno())

    def _run(self) -> None:
        self._lead()
        while self._parks():
            self._lead()

    def _parks(self) -> bool:
        """Wait until the lead is to be taken again; False where enough threads do, or all is over."""
        call = threading.Semaphore(0)
        with self._lock:
            if self._closed or len(self._parked) == _PARKED:
                return False
            self._parked.append(call)
        call.acquire()
        return True

    def _lead(self) -> None:
        """Serve until another thread has the lead, or all is over."""
        with self._lock:
            pass  # it is held until whoever had the lead before has lost it
        while not self._closed:
            while (wait := self._next_concluded()) is not None:
                if not self._do(wait.whose, partial(wait.whose.conclude, wait.error)):
                    return
            self._waits.end_what_is_late()
            for descriptor, _ in self._epoll.poll(_LOOK):
                if descriptor == self._bell.fileno():
                    self._hear()
                elif (served := self._served.get(descriptor)) and not self._do(served, served.serve):
                    return
        self._let_go()

    def _next_concluded(self) -> Wait[Served] | None:
        while (wait := self._waits.next()) is not None:
            with self._lock:
                if step := self._away.get(wait.whose):
                    step.concluded.append(wait)
                elif self._served.get(wait.whose.fileno()) is wait.whose:
                    return wait
        return None

    def _do(self, served: Served, act: Callable[[], bool]) -> bool:
        """Do one step; tell whether this thread still has the lead."""
        self._step = step = _Step(served)
        if not self._busy.is_set():
            self._busy.set()
        if _done(act) and self._goes_on(step):
            return not step.overtaken
        self._forget(step)
        _done(served.close)
        with self._lock:
            self._away.pop(served, None)
            if not step.overtaken:
                self._step = None
        return not step.overtaken

    def _goes_on(self, step: _Step) -> bool:
        """End a step; give the conversation to the thread that has the lead now. False if it cannot go on."""
        with self._lock:
            if not step.overtaken:
                self._step = None
                return True
            if self._closed:
                return False
            try:
                self._epoll.register(step.served.fileno(), select.EPOLLIN)
            except OSError as error:
                with _UNHEARD:
                    logger.error("a session was ended", cause=cause(error))
                return False
            del self._away[step.served]
        self._waits.give_back(step.concluded)
        return True

    def _forget(self, step: _Step) -> None:
        with self._lock:
            step.over = True
            if not step.overtaken:
                self._epoll.unregister(step.served.fileno())
            del self._served[step.served.fileno()]

    def _watch(self) -> None:
        seen = None
        quiet = 0
        while not self._closed:
            time.sleep(_LONG)
            step = self._step
            if step is not None and step is seen and not self._overtake(step):
                time.sleep(_PAUSE)
            seen = step
            quiet = 0 if step else quiet + 1
            if quiet == _QUIET:
                self._busy.clear()
                if self._step is None and not self._closed:
                    self._busy.wait()
                quiet = 0

    def _overtake(self, step: _Step) -> bool:
        """Have another thread take the lead from the one that is still at this step; False where there is none."""
        with self._lock:
            if self._step is not step:
                return True
            try:
                self._call_another()
            except RuntimeError as error:
                with _UNHEARD:
                    logger.error("a session holds up the others", cause=cause(error))
                return False
            step.overtaken = True
            self._away[step.served] = step
            if not step.over:
                self._epoll.unregister(step.served.fileno())
            self._step = None
            return True

    def _call_another(self) -> None:
        if self._parked:
            self._parked.pop().release()
        else:
            threading.Thread(target=self._run, name="milter", daemon=True).start()

    def _let_go(self) -> None:
        with self._lock:
            left = [one for one in self._served.values() if one not in self._away]
            self._served = {one.fileno(): one for one in self._away}
        for one in left:
            _done(one.close)


def _done(act: Callable[[], object]) -> bool:
    """Do something of a conversation's; False where that is over, or failed."""
    try:
        return bool(act())
    except (ConnectionError, BlockingIOError):  # it is gone, silent for hours, or refused, which was told
        return False
    except Exception as error:  # noqa: BLE001 - the mail server puts the mail off
        with _UNHEARD:
            logger.error("a session was ended", cause=cause(error))
        return False
