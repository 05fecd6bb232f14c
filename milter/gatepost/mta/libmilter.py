"""
How the libmilter under us was built: by what it waits for the mail server tells how many connections it bears.

A build that waits by select() refuses every connection whose descriptor is above 1023 (libmilter, listener.c). The
library is found among what this process has loaded.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from gatepost.errors import ConfigError

_MAPS = Path("/proc/self/maps")
_LOADED = re.compile(r"\s(/\S*milter\S*\.so\S*)$", re.MULTILINE)
_WAITS = re.compile(rb"\0(poll|select)\0")  # in the table of symbols that it takes from libc


@dataclass(frozen=True, slots=True)
class Build:
    """The library's file, and whether it waits by poll()."""

    file: Path
    polls: bool


def build(maps: Path = _MAPS) -> Build:
    """Tell the build that this process uses; raises ConfigError where it cannot be told."""
    import_module("gatepost.mta.adapter")  # the module that loads it
    try:
        files = [Path(name) for name in dict.fromkeys(_LOADED.findall(maps.read_text()))]
        calls = {file: set(_WAITS.findall(file.read_bytes())) for file in files}
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    found = next((file for file, waits in calls.items() if waits), None)
    if found is None:
        raise ConfigError(f"no libmilter is among {', '.join(map(str, files)) or 'the loaded libraries'}")
    return Build(found, b"poll" in calls[found])
