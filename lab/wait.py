"""Waiting for something to become true, with a deadline and a clear complaint."""

import time
from collections.abc import Callable

from lab.namespace import Namespace, connect


def until(condition: Callable[[], object], timeout: float, what: str | Callable[[], str]) -> None:
    """Wait until `condition` is true; raise TimeoutError saying `what` did not happen within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def answers(port: int, within: Namespace | None = None) -> bool:
    """Tell whether something accepts connections on this loopback port, of a namespace if one is given."""
    try:
        connect(within, ("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def until_port_answers(
    port: int, timeout: float = 15, why: Callable[[], str] = lambda: "", within: Namespace | None = None
) -> None:
    """Wait until something accepts connections on this loopback port, of a namespace if one is given."""
    until(lambda: answers(port, within), timeout, lambda: f"127.0.0.1:{port} answers. {why()}")
