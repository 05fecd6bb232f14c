"""
What processes have used, read from /proc: a process, what it started, and what of that has ended.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_TICK = 1000 / os.sysconf("SC_CLK_TCK")  # milliseconds


def family(roots: Iterable[int]) -> list[int]:
    """Give these processes and all that descend from them, as far as they live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(roots)
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_milliseconds(pids: Iterable[int]) -> float:
    """Sum user and system time, that of children that ended and were waited for included."""
    return sum(sum(map(int, fields[11:15])) * _TICK for pid in pids if (fields := _stat(pid)))


def peak_memory(pids: Iterable[int]) -> int:
    """Sum the peak resident memory of each, in octets; what they share counts for each."""
    total = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if peak := re.search(r"VmHWM:\s+(\d+) kB", status):
            total += int(peak[1]) * 1024
    return total


def _stat(pid: int) -> list[str]:
    """Give the fields of /proc/PID/stat from the third, the state, on; none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
