"""What DNS said of the next hops in use is looked up again before it is over; what nobody uses is left to end."""

import asyncio
import random
from collections.abc import Callable, Coroutine

import pytest

from gatepost.transport.capability import Discovery, Method
from gatepost.transport.recent_discoveries import RecentDiscoveries

NONE = Method(assured=False)


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0

    def time(self) -> float:
        return self._passed

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and all that was due in it happen."""
        until = self._passed + seconds
        while due := [timer.when() for timer in self._scheduled if timer.when() <= until]:  # type: ignore[attr-defined]
            self._passed = max(self._passed, min(due))
            for _ in range(10):
                await asyncio.sleep(0)
        self._passed = until


class Behind:
    """What is kept in the database, and what a live look-up says; with the seconds that both are good for."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        self.live = 1000
        self.asked: list[str] = []

    async def discover(self, hop: str) -> Discovery:
        if hop in self.kept:
            self.asked.append(f"kept {hop}")
            return Discovery(hop, (), NONE, NONE, ("kept",), self.kept[hop])
        return await self.refresh(hop)

    async def refresh(self, hop: str) -> Discovery:
        self.asked.append(f"live {hop}")
        return Discovery(hop, (), NONE, NONE, (f"live {len(self.asked)}",), self.live)


@pytest.fixture
def play() -> Callable[[Callable[[Clock], Coroutine[None, None, None]]], None]:
    """Run a scene on a loop with such a clock."""

    def run(scene: Callable[[Clock], Coroutine[None, None, None]]) -> None:
        with asyncio.Runner(loop_factory=Clock) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, Clock)
            runner.run(scene(loop))

    return run


Play = Callable[[Callable[[Clock], Coroutine[None, None, None]]], None]


def test_asked_once_while_it_counts(play: Play) -> None:
    """What is known is not asked for again before it is over, and then it is."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        recent = RecentDiscoveries(behind)
        assert (await recent.discover("p.test")).steps == ("live 1",)
        assert (await recent.discover("p.test")).steps == ("live 1",)
        assert behind.asked == ["live p.test"]
        await clock.pass_by(100_000)
        assert (await recent.discover("p.test")).steps[0].startswith("live")
        assert len(behind.asked) > 1

    play(scene)


def test_in_use_is_renewed_before_it_is_over(play: Play) -> None:
    """A next hop in use is looked up again in the last quarter of its time, and its askers never wait."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        recent = RecentDiscoveries(behind)
        await recent.discover("p.test")
        await recent.discover("p.test")
        await clock.pass_by(749)
        assert behind.asked == ["live p.test"]
        await clock.pass_by(202)
        assert behind.asked == ["live p.test"] * 2
        assert (await recent.discover("p.test")).steps == ("live 2",)
        await clock.pass_by(500)
        assert (await recent.discover("p.test")).steps == ("live 2",), "it has its own time"

    play(scene)


def test_unused_is_left_to_end(play: Play) -> None:
    """A next hop that nobody asked for again is not looked up in the background."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        recent = RecentDiscoveries(behind)
        await recent.discover("p.test")
        await clock.pass_by(10_000)
        assert behind.asked == ["live p.test"]

    play(scene)


def test_what_another_host_found_is_taken(play: Play) -> None:
    """Where the database holds a later one, DNS is not asked."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        recent = RecentDiscoveries(behind)
        await recent.discover("p.test")
        await recent.discover("p.test")
        behind.kept["p.test"] = 900
        await clock.pass_by(960)
        assert behind.asked == ["live p.test", "kept p.test"]
        assert (await recent.discover("p.test")).steps == ("kept",)

    play(scene)


def test_our_own_row_does_not_count_as_later(play: Play) -> None:
    """Where the database holds what is known here already, DNS is asked."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        behind.kept["p.test"] = 100
        recent = RecentDiscoveries(behind)
        await recent.discover("p.test")
        await recent.discover("p.test")
        behind.kept["p.test"] = 3
        await clock.pass_by(97)
        assert behind.asked == ["kept p.test", "kept p.test", "live p.test"]

    play(scene)


@pytest.mark.parametrize("seconds", [0, 1, 5])
def test_short_time_makes_no_haste(play: Play, seconds: int) -> None:
    """What counts only for moments is not looked up again and again."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        behind.live = seconds
        recent = RecentDiscoveries(behind)
        await recent.discover("p.test")
        await recent.discover("p.test")
        await clock.pass_by(100)
        assert len(behind.asked) <= 2

    play(scene)


def test_hosts_do_not_renew_at_one_moment(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment is drawn by lot between three quarters and nineteen twentieths of the time."""
    drawn = []
    monkeypatch.setattr(random, "uniform", lambda low, high: drawn.append((low, high)) or high)

    async def scene(clock: Clock) -> None:
        behind = Behind()
        recent = RecentDiscoveries(behind)
        await recent.discover("p.test")
        await recent.discover("p.test")
        await clock.pass_by(949)
        assert behind.asked == ["live p.test"]
        await clock.pass_by(2)
        assert len(behind.asked) == 2

    play(scene)
    assert drawn[0] == (0.75, 0.95)


def test_flood_of_names_is_bounded(play: Play) -> None:
    """Names without end leave a bounded number behind; those in use stay, and no timer of the others."""

    async def scene(clock: Clock) -> None:
        behind = Behind()
        recent = RecentDiscoveries(behind, entries=10)
        await recent.discover("used.test")
        for number in range(100):
            await recent.discover(f"flood{number}.test")
            await recent.discover("used.test")
        assert behind.asked.count("live used.test") == 1
        assert len(recent._entries) == 10
        await clock.pass_by(10_000)
        assert "live flood0.test" not in behind.asked[101:]

    play(scene)
