"""The budget of a message: a deadline, signs of life, and room for others while it waits."""

from collections.abc import Callable

import pytest

from gatepost.errors import WorkerError
from gatepost.gateway.budget import Budget


@pytest.mark.parametrize("waits", [Budget.for_waiting, Budget.wait])
def test_others_go_on_while_it_waits(waits: Callable[[Budget], object]) -> None:
    """Whoever is about to wait steps aside first, each time; nobody does for asking what time is left."""
    happened: list[str] = []
    budget = Budget(60, keepalive=lambda: happened.append("sign"), aside=lambda: happened.append("aside"))
    budget.left()
    budget.tick()
    assert happened == []
    waits(budget)
    waits(budget)

    assert happened == ["aside", "aside"]


@pytest.mark.parametrize("asks", [Budget.left, Budget.tick, Budget.for_waiting, Budget.wait])
def test_nothing_is_waited_for_after_its_end(asks: Callable[[Budget], object]) -> None:
    """When the time is up, whatever asks is told so."""
    with pytest.raises(WorkerError, match="max_seconds"):
        asks(Budget(-1, keepalive=lambda: None))
