"""
What a family of processes takes of the host's memory, sampled while something goes on.

A page that several processes share counts once (PSS, proc_pid_smaps(5)); so does what lies in memory files.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_PAUSE = 0.05  # seconds between two samples


def family(roots: Iterable[int]) -> list[int]:
    """Give these processes and all that descend from them, as far as they live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = list(roots)
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def taken(pids: Iterable[int]) -> int:
    """Sum what each process takes, in octets; a process that is gone takes nothing."""
    return sum(_proportional(pid) + _in_memory_files(pid) for pid in pids)


def own(pid: int) -> int:
    """Give what a process has for itself alone, in octets: whoever else runs the same program changes nothing."""
    return _rollup(pid, "Anonymous")


def _proportional(pid: int) -> int:
    return _rollup(pid, "Pss")


def _rollup(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def _in_memory_files(pid: int) -> int:
    return sum(size for _, size in _memory_files(pid))


def _memory_files(pid: int) -> Iterator[tuple[str, int]]:
    """Give the files that a process has open and that lie in memory (memfd_create(2), /dev/shm)."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith(("/memfd:", "/dev/shm/")):  # noqa: S108 - nothing is made there
                    yield target, link.stat().st_blocks * 512


class Watch:
    """Samples what the processes take, from entry to exit; `start` before, `peak` the most since."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = pids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory watch", daemon=True)
        self.start = taken(pids())
        self.peak = self.start
        self.shares: dict[str, int] = {}

    @property
    def added(self) -> int:
        """How much more than at the start there was at most, in octets."""
        return self.peak - self.start

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE):
            pids = self._pids()
            now = taken(pids)
            if now > self.peak:
                self.peak = now
                self.shares = {_name(pid): taken([pid]) for pid in pids}


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return f"{pid} {' '.join(words)[-60:]}"
    return str(pid)
