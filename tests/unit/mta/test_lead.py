"""The lead: one thread serves all, no long step holds up another conversation, and none is served by two."""

import gc
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from lab.wait import until

from gatepost.errors import StorageError
from gatepost.mta import lead as lead_module
from gatepost.mta import waits
from gatepost.mta.lead import Lead
from gatepost.mta.waits import Done

SECONDS = 20  # within which what is to happen does


class Talk:
    """A conversation: notes what comes, in which threads, and does what the test wants."""

    def __init__(self, act: Callable[["Talk", bytes], bool] = lambda *_: True) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.descriptor = self.ours.fileno()
        self.act = act
        self.at_conclude: Callable[[], bool] = lambda: True
        self.at_close: Callable[[], object] = lambda: None
        self.got = b""
        self.concluded: list[Exception | None] = []
        self.threads: set[int] = set()
        self.crowded = False
        self.closed = 0
        self._inside = threading.Lock()

    def fileno(self) -> int:
        return self.descriptor

    def serve(self) -> bool:
        with self:
            piece = self.ours.recv(4, socket.MSG_DONTWAIT)
            self.got += piece
            return bool(piece) and self.act(self, piece)

    def conclude(self, error: Exception | None) -> bool:
        with self:
            self.concluded.append(error)
            return self.at_conclude()

    def close(self) -> None:
        with self:
            self.closed += 1
            self.ours.close()
            self.at_close()

    def __enter__(self) -> None:
        self.crowded |= not self._inside.acquire(blocking=False)
        self.threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):
            self._inside.release()

    def gets(self, octets: bytes) -> None:
        """Send it something, and wait until it has it."""
        before = len(self.got)
        self.theirs.sendall(octets)
        until(lambda: len(self.got) >= before + len(octets), SECONDS, f"{octets!r} comes")


class Long:
    """A step that lasts as long as the test wants."""

    def __init__(self, before: Callable[[Talk], object] = lambda _: None) -> None:
        self._before = before
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.outcome: Callable[[], bool] = lambda: True

    def __call__(self, talk: Talk, _: bytes) -> bool:
        talk.act = lambda *_: True
        self._before(talk)
        self.begun.set()
        assert self.may_end.wait(SECONDS)
        return self.outcome()


class Asking:
    """A step that asks for something which the test gives."""

    def __init__(self, lead: Lead, seconds: float = 60) -> None:
        self._lead = lead
        self._seconds = seconds
        self.done: Done = pytest.fail

    def __call__(self, talk: Talk, _: bytes = b"") -> bool:
        talk.act = lambda *_: True
        self._lead.expect(talk, self.begin, self._seconds)
        return True

    def begin(self, done: Done) -> None:
        self.done = done


@pytest.fixture
def threads() -> Iterator[Callable[[], set[threading.Thread]]]:
    """Give what tells the threads that have come since; after the test there are none."""
    before = set(threading.enumerate())
    yield lambda: set(threading.enumerate()) - before
    until(lambda: not set(threading.enumerate()) - before, SECONDS, "all threads end")


@pytest.fixture
def lead(threads: object) -> Iterator[Lead]:
    assert threads
    lead = Lead()
    yield lead
    lead.close()


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step be taken for a long one, however busy this host is."""
    monkeypatch.setattr(Lead, "_overtake", lambda *_: True)


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look for long steps."""
    monkeypatch.setattr(Lead, "_watch", lambda _: None)


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be found only because it is looked for now and then."""
    monkeypatch.setattr(lead_module, "_LOOK", 3 * SECONDS)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch, seldom: None) -> None:  # noqa: ARG001 - which comes first
    """Let it be looked often for what is late."""
    for module in (lead_module, waits):
        monkeypatch.setattr(module, "_LOOK", 0.01)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the errors that the log has."""
    told: list[str] = []
    monkeypatch.setattr(lead_module.logger, "error", lambda event, **_: told.append(event))
    return told


@pytest.fixture
def talks(lead: Lead) -> Iterator[Callable[..., Talk]]:
    """Give what begins a conversation; after the test none was ever served by two threads at once."""
    begun: list[Talk] = []

    def begin(act: Callable[[Talk, bytes], bool] = lambda *_: True) -> Talk:
        talk = Talk(act)
        begun.append(talk)
        lead.take(talk)
        return talk

    yield begin
    lead.close()
    until(lambda: all(one.closed for one in begun), SECONDS, "all are let go")
    for one in begun:
        one.theirs.close()
    assert [one.closed for one in begun] == [1] * len(begun)
    assert not any(one.crowded for one in begun)


Begin = Callable[..., Talk]


class TestSteps:
    @pytest.mark.usefixtures("calm")
    def test_one_thread_serves_many(self, talks: Begin) -> None:
        """Conversations whose steps are short are all served by the same thread, each with what is its own."""
        many = [talks() for _ in range(20)]
        for octets in (b"one", b"two"):
            for number, talk in enumerate(many):
                talk.theirs.sendall(b"%d %s " % (number, octets))
        until(lambda: all(one.got.endswith(b"two ") for one in many), SECONDS, "all is served")

        assert [one.got for one in many] == [b"%d one %d two " % (number, number) for number in range(20)]
        assert len(set().union(*(one.threads for one in many))) == 1

    def test_a_long_step_holds_nobody_up(self, talks: Begin) -> None:
        """Others go on; whose step it is, is not served meanwhile, though more comes and it is hung up on."""
        step = Long()
        slow, other = talks(step), talks()
        slow.theirs.sendall(b"a")
        assert step.begun.wait(SECONDS)
        slow.theirs.sendall(b"b")
        slow.theirs.shutdown(socket.SHUT_WR)
        for _ in range(5):
            other.gets(b"x")
        assert (slow.got, slow.closed) == (b"a", 0)
        assert slow.threads.isdisjoint(other.threads)
        step.may_end.set()
        until(lambda: slow.closed, SECONDS, "it is served again")

        assert slow.got == b"ab"

    @pytest.mark.usefixtures("unwatched")
    def test_who_is_about_to_wait_steps_aside(self, lead: Lead, talks: Begin) -> None:
        """Others go on at once, though nobody looks; threads that had the lead take it again, and are few."""
        step = Long(before=lead.aside)
        slow, other = talks(), talks()
        for _ in range(5):
            slow.act, step.may_end = step, threading.Event()
            step.begun.clear()
            slow.theirs.sendall(b"a")
            assert step.begun.wait(SECONDS)
            other.gets(b"x")
            step.may_end.set()
            slow.gets(b"b")

        assert slow.got == b"ab" * 5
        assert len(slow.threads | other.threads) <= 3

    def test_stepping_aside_is_for_the_own_step(self, lead: Lead, talks: Begin) -> None:
        """Who has lost the lead already, or never had it, takes it from nobody."""
        slow_step, step = Long(before=lead.aside), Long(before=lead.aside)
        slow, other = talks(slow_step), talks(step)
        slow.theirs.sendall(b"a")
        assert slow_step.begun.wait(SECONDS)
        other.theirs.sendall(b"b")
        assert step.begun.wait(SECONDS)
        for _ in range(3):
            lead.aside(slow)
        slow_step.may_end.set()
        step.may_end.set()
        slow.gets(b"c")
        other.gets(b"d")

        assert (slow.got, other.got, slow.crowded, other.crowded) == (b"ac", b"bd", False, False)

    def test_whoever_was_away_is_served_on(self, talks: Begin) -> None:
        """After a long step a conversation is served by who serves the others, as often as it likes."""
        step = Long()
        slow, other = talks(step), talks()
        for _ in range(3):
            slow.act, step.may_end = step, threading.Event()
            step.begun.clear()
            slow.theirs.sendall(b"a")
            assert step.begun.wait(SECONDS)
            other.gets(b"x")
            step.may_end.set()
            slow.gets(b"b")

        assert slow.got == b"ababab"

    def test_many_long_steps_at_once(self, talks: Begin) -> None:
        """Any number of long steps may be under way at one time."""
        steps = [Long() for _ in range(6)]
        slow = [talks(step) for step in steps]
        other = talks()
        for one in slow:
            one.theirs.sendall(b"a")
        assert all(step.begun.wait(SECONDS) for step in steps)
        other.gets(b"x")
        for step in steps:
            step.may_end.set()
        for one in slow:
            one.gets(b"b")

        assert [one.got for one in slow] == [b"ab"] * 6

    @pytest.mark.parametrize("fault", [None, ValueError("canary")])
    def test_a_long_step_that_ends_its_conversation(
        self, talks: Begin, told: list[str], fault: Exception | None
    ) -> None:
        """Whose long step says that it is over, or fails, is let go; nobody listens to it any more."""
        step = Long()
        slow, other = talks(step), talks()
        slow.theirs.sendall(b"a")
        assert step.begun.wait(SECONDS)
        other.gets(b"x")

        def over() -> bool:
            if fault:
                raise fault
            return False

        step.outcome = over
        step.may_end.set()
        until(lambda: slow.closed, SECONDS, "it is let go")
        other.gets(b"x")

        assert told == ["a session was ended"] * bool(fault)

    def test_a_thread_that_this_host_does_not_give(
        self, talks: Begin, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where nobody can take the lead it is told, and the others are served once the long step is done."""
        monkeypatch.setattr(lead_module, "_PAUSE", 0.01)
        step = Long()
        slow, other = talks(step), talks()
        other.gets(b"x")
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", _refused)
            slow.theirs.sendall(b"a")
            assert step.begun.wait(SECONDS)
            other.theirs.sendall(b"y")
            until(lambda: len(told) > 1, SECONDS, "it is told, and tried again")
            assert other.got == b"x"
            step.may_end.set()
            until(lambda: other.got == b"xy", SECONDS, "others go on")
            slow.gets(b"b")

        assert set(told) == {"a session holds up the others"}

    def test_the_watch_sleeps_until_there_is_a_step(
        self, threads: Callable[[], set[threading.Thread]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where nothing happens the watch looks no more; at the next step it is awake, as often as it likes."""
        sleeps: queue.Queue[None] = queue.Queue()

        class Event(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                sleeps.put(None)
                return super().wait(timeout)

        monkeypatch.setattr(lead_module, "_QUIET", 2)
        monkeypatch.setattr(
            lead_module,
            "threading",
            SimpleNamespace(
                Semaphore=threading.Semaphore, Thread=threading.Thread, Lock=threading.Lock, Event=Event
            ),
        )
        lead, slow, other = Lead(), Talk(), Talk()
        lead.take(slow)
        lead.take(other)
        for _ in range(2):
            sleeps.get(timeout=SECONDS)
            step = Long()
            slow.act = step
            slow.theirs.sendall(b"a")
            assert step.begun.wait(SECONDS)
            other.gets(b"x")
            step.may_end.set()
            until(lambda: not lead._away, SECONDS, "the step is over")
        until(lambda: not lead._busy.is_set(), SECONDS, "the watch sleeps")
        lead.close()
        until(lambda: slow.closed and other.closed, SECONDS, "both are let go")
        until(lambda: not threads(), SECONDS, "the watch ends")
        slow.theirs.close()
        other.theirs.close()


class TestWaiting:
    @pytest.mark.usefixtures("calm")
    @pytest.mark.parametrize("error", [None, StorageError("the disk is full")])
    def test_is_concluded_in_the_lead(self, lead: Lead, talks: Begin, error: Exception | None) -> None:
        """Who waits is told once, in the lead's thread, however often it is said; others go on meanwhile."""
        asked = Asking(lead)
        waits, other = talks(asked), talks()
        waits.gets(b"a")
        other.gets(b"x")
        assert waits.concluded == []
        asked.done(error)
        until(lambda: waits.concluded, SECONDS, "it is concluded")
        asked.done(error)
        other.gets(b"x")
        waits.gets(b"b")

        assert waits.concluded == [error]
        assert len(waits.threads) == 1

    @pytest.mark.parametrize("long", [False, True])
    def test_what_is_done_at_once(self, lead: Lead, talks: Begin, long: bool) -> None:
        """What is done before the step that asked is over is concluded after it, whoever has the lead then."""
        step = Long(lambda talk: lead.expect(talk, lambda done: done(None), 60))
        waits, other = talks(step), talks()
        waits.theirs.sendall(b"a")
        assert step.begun.wait(SECONDS)
        for _ in range(2 if long else 0):
            other.gets(b"x")
        assert waits.concluded == []
        step.may_end.set()
        until(lambda: waits.concluded, SECONDS, "it is concluded")
        waits.gets(b"b")

        assert waits.concluded == [None]
        assert not lead._waits._open  # nothing is kept of what is over

    def test_what_is_done_while_the_step_is_elsewhere(self, lead: Lead, talks: Begin) -> None:
        """What is done while the step that asked is under way in another thread waits for its end."""
        asked = Asking(lead)
        step = Long(asked)
        waits, other = talks(step), talks()
        waits.theirs.sendall(b"a")
        assert step.begun.wait(SECONDS)
        other.gets(b"x")
        asked.done(None)
        for _ in range(3):
            other.gets(b"x")
        assert waits.concluded == []
        step.may_end.set()
        until(lambda: waits.concluded, SECONDS, "it is concluded")
        waits.gets(b"b")

        assert waits.concluded == [None]

    def test_a_long_conclusion_holds_nobody_up(self, lead: Lead, talks: Begin) -> None:
        """A conclusion is a step like any other: if it takes long, others go on."""
        asked, step = Asking(lead), Long()
        waits, other = talks(asked), talks()
        waits.at_conclude = lambda: step(waits, b"")
        waits.gets(b"a")
        asked.done(None)
        assert step.begun.wait(SECONDS)
        waits.theirs.sendall(b"b")
        other.gets(b"x")
        assert waits.got == b"a"
        step.may_end.set()
        until(lambda: waits.got == b"ab", SECONDS, "it is served again")

        assert waits.concluded == [None]

    @pytest.mark.usefixtures("often")
    def test_what_comes_too_late(self, lead: Lead, talks: Begin) -> None:
        """After its time a wait ends with an error; what is done then counts no more."""
        asked, patient = Asking(lead, 0.01), Asking(lead)
        waits, other = talks(asked), talks(patient)
        waits.gets(b"a")
        other.gets(b"a")
        until(lambda: waits.concluded, SECONDS, "it is concluded")
        asked.done(None)
        other.gets(b"x")
        waits.gets(b"b")

        assert [type(error) for error in waits.concluded] == [StorageError]
        assert other.concluded == []

    def test_what_cannot_be_begun(self, lead: Lead, talks: Begin) -> None:
        """Where nothing could be begun, who asked gets the error, and nothing is waited for."""
        kept: list[Done] = []
        caught: list[str] = []

        def begin(done: Done) -> None:
            kept.append(done)
            raise StorageError("the writer is closed")

        def act(talk: Talk, _: bytes) -> bool:
            try:
                lead.expect(talk, begin, 0)
            except StorageError as error:
                caught.append(str(error))
            talk.act = lambda *_: True
            return True

        asks, other = talks(act), talks()
        asks.gets(b"a")
        until(lambda: caught, SECONDS, "the error comes")
        kept[0](None)
        other.gets(b"x")
        asks.gets(b"b")

        assert caught == ["the writer is closed"]
        assert asks.concluded == []
        assert not lead._waits._open

    def test_who_is_gone_is_not_concluded(self, lead: Lead, talks: Begin) -> None:
        """What a conversation waited for is nothing to anybody else, not even to the next at its descriptor."""
        asked = Asking(lead)
        gone, other = talks(asked), talks()
        gone.gets(b"a")
        gone.theirs.shutdown(socket.SHUT_WR)
        until(lambda: gone.closed, SECONDS, "it is let go")
        next_one = Talk()
        if next_one.descriptor != gone.descriptor:
            made = next_one.ours.detach()
            next_one.descriptor = os.dup2(made, gone.descriptor)
            os.close(made)
            next_one.ours = socket.socket(fileno=next_one.descriptor)
        lead.take(next_one)
        asked.done(None)
        other.gets(b"x")
        next_one.gets(b"y")
        next_one.theirs.close()
        until(lambda: next_one.closed, SECONDS, "it is let go")

        assert gone.concluded == next_one.concluded == []


class TestFaults:
    @pytest.mark.parametrize(
        "known",
        [
            (ValueError("canary"), 1),
            (OSError(5, "no disk"), 1),
            (ConnectionResetError(), 0),
            (BlockingIOError(), 0),
        ],
    )
    @pytest.mark.parametrize("place", ["serve", "conclude", "close"])
    def test_a_fault_ends_its_conversation(
        self, lead: Lead, talks: Begin, told: list[str], place: str, known: tuple[Exception, int]
    ) -> None:
        """Whatever a step raises ends that conversation alone, with one line unless it is just gone."""
        fault, lines = known

        def fails() -> bool:
            raise fault

        asked = Asking(lead)
        acts = {"serve": lambda *_: fails(), "conclude": asked, "close": lambda *_: False}
        bad, other = talks(acts[place]), talks()
        bad.at_conclude = fails
        bad.at_close = fails if place == "close" else bad.at_close
        bad.gets(b"a")
        if place == "conclude":
            asked.done(None)
        until(lambda: bad.closed, SECONDS, "it is let go")
        other.gets(b"x")

        assert told == ["a session was ended"] * lines

    def test_who_cannot_be_listened_to(self, lead: Lead, tmp_path: Path) -> None:
        """What this host cannot watch is refused, and nothing of it is kept."""
        with (tmp_path / "file").open("wb") as file:
            talk = SimpleNamespace(fileno=file.fileno)
            with pytest.raises(PermissionError):
                lead.take(talk)  # type: ignore[arg-type] # it is never served

        assert not lead._served


class TestClose:
    def test_all_are_let_go(self, lead: Lead, talks: Begin, threads: Callable[[], set[threading.Thread]]) -> None:
        """The idle, the waiting and the silent are let go at once, who is at a long step after it; threads end."""
        asked, step = Asking(lead), Long()
        idle, waits, slow = talks(), talks(asked), talks(step)
        waits.gets(b"a")
        slow.theirs.sendall(b"a")
        assert step.begun.wait(SECONDS)
        idle.gets(b"x")
        lead.close()
        until(lambda: idle.closed and waits.closed, SECONDS, "they are let go")
        asked.done(None)
        assert not slow.closed
        step.may_end.set()
        until(lambda: slow.closed, SECONDS, "it is let go")
        until(lambda: not threads(), SECONDS, "the threads end")

        assert waits.concluded == []

    def test_a_step_under_way_is_done_first(self, lead: Lead, talks: Begin) -> None:
        """Who is at a step when it is closed ends that step, whether another has the lead or not."""
        step = Long()
        slow = talks(step)
        slow.theirs.sendall(b"a")
        assert step.begun.wait(SECONDS)
        lead.close()
        assert not slow.closed
        step.may_end.set()
        until(lambda: slow.closed, SECONDS, "it is let go")


class Wild:
    """Conversations with steps of any length that wait for what a writer's thread tells, in no order."""

    def __init__(self, lead: Lead, seed: int) -> None:
        self._lead = lead
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self.asked: list[Talk] = []
        self.jobs: queue.Queue[Done | None] = queue.Queue()
        self.writer = threading.Thread(target=self._write)
        self.writer.start()

    def act(self, talk: Talk, _: bytes) -> bool:
        kind = self._random.random()
        if kind < 0.3:
            self._lead.expect(talk, self.jobs.put, 60)
            self.asked.append(talk)
        elif kind < 0.4:
            self._lead.expect(talk, lambda done: done(None), 60)
            self.asked.append(talk)
        if self._random.random() < 0.1:
            time.sleep(0.015)
        return True

    def _write(self) -> None:
        while (done := self.jobs.get()) is not None:
            done(None)


@pytest.mark.parametrize("seed", range(2))
def test_each_gets_all_once_and_in_order(lead: Lead, talks: Begin, seed: int) -> None:
    """However steps, waits and threads fall, each octet comes once, in order, to one thread at a time."""
    wild = Wild(lead, seed)
    many = [talks(wild.act) for _ in range(30)]
    for octet in range(40):
        for talk in many:
            talk.theirs.sendall(bytes([octet]))
    until(lambda: all(len(one.got) >= 40 for one in many), SECONDS, "all has come")
    until(lambda: not lead._away, SECONDS, "no step is under way")
    wild.jobs.put(None)
    wild.writer.join(SECONDS)
    until(lambda: sum(len(one.concluded) for one in many) >= len(wild.asked), SECONDS, "all is concluded")

    assert [one.got for one in many] == [bytes(range(40))] * 30
    assert [len(one.concluded) for one in many] == [wild.asked.count(one) for one in many]


def _descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def _refused(*_: object) -> None:
    raise RuntimeError("can't start new thread")


class TestLeftovers:
    def test_the_watch_ends_though_it_was_about_to_sleep(
        self, threads: Callable[[], set[threading.Thread]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A watch that goes to sleep at the moment of the end does not sleep for ever."""
        looks, may_look = threading.Event(), threading.Event()

        def sleep(_: float) -> None:
            looks.set()
            may_look.wait(SECONDS)

        monkeypatch.setattr(lead_module, "_QUIET", 1)
        monkeypatch.setattr(lead_module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
        lead = Lead()
        assert looks.wait(SECONDS)
        lead.close()
        may_look.set()
        try:
            until(lambda: not threads(), 2, "the watch ends")
        finally:
            lead._busy.set()

    def test_no_descriptor_is_left(self, threads: Callable[[], set[threading.Thread]]) -> None:
        """What it was closed with is given back to this host."""
        before = _descriptors()
        lead, talk = Lead(), Talk()
        lead.take(talk)
        talk.gets(b"a")
        lead.close()
        until(lambda: talk.closed and not threads(), SECONDS, "it is closed")
        talk.theirs.close()
        del lead

        until(lambda: _descriptors() == before, SECONDS, "its descriptors are gone")

    def test_done_and_then_failed(self, lead: Lead, talks: Begin) -> None:
        """Who got an error is not concluded, though what failed had said that it was done."""
        caught: list[Exception] = []

        def begin(done: Done) -> None:
            done(None)
            raise StorageError("the writer is closed")

        def act(talk: Talk, _: bytes) -> bool:
            talk.act = lambda *_: True
            try:
                lead.expect(talk, begin, 60)
            except StorageError as error:
                caught.append(error)
            return True

        asks, other = talks(act), talks()
        asks.gets(b"a")
        until(lambda: caught, SECONDS, "the error comes")
        other.gets(b"x")
        asks.gets(b"b")

        assert asks.concluded == []

    @pytest.mark.parametrize("long", [False, True])
    def test_a_log_that_is_gone(self, talks: Begin, monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
        """Where nobody reads the log any more, a conversation that fails is let go, and others go on."""

        def gone(*_: object, **__: object) -> None:
            raise BrokenPipeError

        def fails() -> bool:
            raise ValueError

        monkeypatch.setattr(lead_module.logger, "error", gone)
        step = Long()
        step.outcome = fails
        bad, other = talks(step if long else lambda *_: fails()), talks()
        bad.theirs.sendall(b"a")
        if long:
            assert step.begun.wait(SECONDS)
            other.gets(b"x")
            step.may_end.set()
        other.gets(b"x")
        until(lambda: bad.closed, 2, "it is let go")
