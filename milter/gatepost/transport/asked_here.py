"""
Look-ups of next hops within one command: for who decides about a message while no service runs.

They are those of the policy service, and use the same cache; only the memory in front of it is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor

from gatepost.errors import cause
from gatepost.transport.capability import Capability

Ask = Callable[[str], Awaitable[Capability]]

_AT_ONCE = 8


class AskedHere:
    """Implements `Capabilities` in threads of this process."""

    def __init__(self, open_ask: Callable[[], Ask], seconds: float) -> None:
        """Take what gives the question, called anew in each event loop, and the seconds that it may take."""
        self._open_ask = open_ask
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="look-up")

    def begin(self, hop: str) -> "Answering":
        """Begin to look a next hop up."""
        return Answering(hop, self._threads.submit(asyncio.run, self._asked(hop)), self._seconds)

    async def _asked(self, hop: str) -> Capability:
        return await self._open_ask()(hop)


class Answering:
    """Implements `Pending`."""

    def __init__(self, hop: str, answer: Future[Capability], seconds: float) -> None:
        self._hop = hop
        self._answer = answer
        self._seconds = seconds

    def wait(self) -> Capability:
        """Give the answer; one that broke, or did not come in time, is `unknown`."""
        try:
            return self._answer.result(self._seconds)
        except TimeoutError:
            why = f"no answer about {self._hop} within {self._seconds:g} s"
        except Exception as error:  # noqa: BLE001 - whatever broke, TLS is not assured by it
            why = f"the look-up of {self._hop} failed: {cause(error)}"
        return Capability(self._hop, assured=False, unknown=True, steps=(why,))
