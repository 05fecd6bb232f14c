"""Look-ups within one command: the answer of what is asked, and doubt where there is none."""

import asyncio

import pytest

from gatepost.transport.asked_here import AskedHere
from gatepost.transport.capability import Capability


class Asked:
    """Answers by name, each after what its name says."""

    async def capability(self, hop: str) -> Capability:
        """Assure `good.test`, hang at `slow.test`, break at any other."""
        if hop == "slow.test":
            await asyncio.sleep(1)
        if hop != "good.test":
            raise ValueError("content that no log may hold")
        return Capability(hop, assured=True, by="dane", policy="dane-only")


def test_the_answer_is_that_of_what_is_asked() -> None:
    """Several next hops are looked up beside each other, each with its own answer."""
    pending = [AskedHere(lambda: Asked().capability, 5.0).begin("good.test") for _ in range(3)]
    assert all(one.wait().assured for one in pending)


@pytest.mark.parametrize(("hop", "seconds", "why"), [("slow.test", 0.05, "within"), ("bad.test", 5.0, "failed")])
def test_no_answer_is_doubt(hop: str, seconds: float, why: str) -> None:
    """What hangs or breaks is unknown, never "not assured", with a reason that quotes nothing."""
    answer = AskedHere(lambda: Asked().capability, seconds).begin(hop).wait()
    assert (answer.assured, answer.unknown) == (False, True)
    assert why in answer.steps[0]
    assert "content" not in answer.steps[0]
