"""A piece of work done in a child of its own: it may break, hang or eat memory, and nothing of it stays."""

import json
import math
import os
import resource
import signal
import traceback
from collections.abc import Callable
from typing import TypeVar

_WALL = 300  # seconds
_MEMORY = 3 << 30  # octets

T = TypeVar("T")


def in_child(work: Callable[[], T], seconds: float = 0) -> T:
    """
    Give what the work gives, which is made of what JSON has; its standard output is dropped.

    With `seconds` of CPU time its errors are dropped too. Raises ChildProcessError if it fails or takes more.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _do(work, seconds, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    _, ended = os.waitpid(child, 0)
    if ended:
        raise ChildProcessError(f"a child ended with {ended}")
    given: T = json.loads(answer)
    return given


def ended_well(work: Callable[[], bool], seconds: float) -> bool:
    """Tell what the work tells; False if it fails or takes more CPU time."""
    try:
        return in_child(work, seconds)
    except ChildProcessError:
        return False


def _do(work: Callable[[], object], seconds: float, writer: int) -> None:
    status = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        if seconds:
            os.dup2(nothing, 2)
            limit = math.ceil(seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            signal.alarm(_WALL)
        answer = json.dumps(work()).encode()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
        status = 0
    except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
        traceback.print_exc()
    finally:
        os._exit(status)
