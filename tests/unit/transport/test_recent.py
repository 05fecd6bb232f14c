"""Answers remembered for a moment: at once, never too old, asked once, bounded."""

import asyncio
from asyncio import Future

import pytest

from gatepost.transport.answer import Answer, Found, NotFound, TryAgain
from gatepost.transport.recent import Ages, RecentAnswers

FOREVER = Ages(fresh=1e9, most=1e9)
AT_ONCE = Ages(fresh=0.0, most=1e9)
NEVER = Ages(fresh=0.0, most=0.0)


class Behind:
    """A look-up that answers when it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.answers: dict[str, Answer | Exception] = {}

    async def __call__(self, key: str) -> Answer:
        self.asked.append(key)
        await self.open.wait()
        answer = self.answers.get(key, Found(key))
        if isinstance(answer, Exception):
            raise answer
        return answer


def later(answer: Answer | Future[Answer]) -> Future[Answer]:
    assert isinstance(answer, Future)
    return answer


def test_remembered_answer_comes_at_once() -> None:
    """The first asker waits, the next ones do not; what was not found is remembered like what was."""

    async def scene() -> None:
        behind = Behind()
        behind.answers["b"] = NotFound()
        recent = RecentAnswers(behind, ages=FOREVER)
        for key in "ab":
            first = await later(recent(key))
            assert recent(key) is first
        assert behind.asked == ["a", "b"]

    asyncio.run(scene())


def test_equal_questions_are_asked_once() -> None:
    """All who ask for the same share one look-up; one of them that gives up takes it from nobody."""

    async def scene() -> None:
        behind = Behind()
        behind.open.clear()
        recent = RecentAnswers(behind, ages=FOREVER)
        futures = [later(recent("a")) for _ in range(5)]
        waiting = [asyncio.ensure_future(asyncio.shield(future)) for future in futures]
        await asyncio.sleep(0)
        waiting[0].cancel()
        behind.open.set()
        assert await asyncio.gather(*waiting[1:]) == [Found("a")] * 4
        assert behind.asked == ["a"]

    asyncio.run(scene())


def test_ageing_answer_is_looked_up_behind_the_askers_back() -> None:
    """An answer that is no longer fresh is given once more while the next one is fetched, once."""

    async def scene() -> None:
        behind = Behind()
        recent = RecentAnswers(behind, ages=AT_ONCE)
        assert await later(recent("a")) == Found("a")
        behind.answers["a"] = Found("new")
        behind.open.clear()
        assert recent("a") == recent("a") == Found("a")
        await asyncio.sleep(0)
        assert behind.asked == ["a", "a"]
        behind.open.set()
        await recent._under_way["a"]
        await asyncio.sleep(0)
        assert recent("a") == Found("new")

    asyncio.run(scene())


def test_old_answer_is_not_given() -> None:
    """An answer that is too old is given to nobody, however long the next one takes."""

    async def scene() -> None:
        behind = Behind()
        recent = RecentAnswers(behind, ages=NEVER)
        assert await later(recent("a")) == Found("a")
        behind.open.clear()
        assert not later(recent("a")).done()
        behind.open.set()
        await later(recent("a"))

    asyncio.run(scene())


def test_failure_is_not_remembered() -> None:
    """A look-up that broke is tried again; those who waited are told."""

    async def scene() -> None:
        behind = Behind()
        behind.answers["a"] = RuntimeError("a bug")
        recent = RecentAnswers(behind, ages=FOREVER)
        with pytest.raises(RuntimeError):
            await later(recent("a"))
        behind.answers["a"] = Found("a")
        assert await later(recent("a")) == Found("a")

    asyncio.run(scene())


def test_failure_behind_the_back_harms_nobody() -> None:
    """Where the renewal breaks, the answer that is there is given until it is too old."""

    async def scene() -> None:
        behind = Behind()
        recent = RecentAnswers(behind, ages=AT_ONCE)
        await later(recent("a"))
        behind.answers["a"] = RuntimeError("a bug")
        for _ in range(5):
            assert recent("a") == Found("a")
            await asyncio.sleep(0)

    asyncio.run(scene())


def test_flood_of_names_is_bounded() -> None:
    """Names without end leave a bounded number of answers, and what is asked all the time stays among them."""

    async def scene() -> None:
        recent = RecentAnswers(Behind(), ages=FOREVER, entries=10)
        for number in range(100):
            await later(recent(f"flood{number}"))
        assert len(recent._answers) == 10
        assert recent("flood99") == Found("flood99")

    asyncio.run(scene())


def test_flood_of_look_ups_is_bounded() -> None:
    """Where too much is under way, more is put off; what is remembered is still answered."""

    async def scene() -> None:
        behind = Behind()
        recent = RecentAnswers(behind, ages=FOREVER, under_way=3)
        await later(recent("known"))
        behind.open.clear()
        waiting = [later(recent(f"slow{number}")) for number in range(3)]
        assert recent("more") == TryAgain("too many next hops are being looked up now")
        assert recent("known") == Found("known")
        behind.open.set()
        await asyncio.gather(*waiting)
        assert await later(recent("more")) == Found("more")

    asyncio.run(scene())
