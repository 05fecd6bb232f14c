"""
Postfix's look-up tables, asked through its own command `postmap -q`, and what its lists of tables hold.

No shell is involved; keys go to postmap by standard input. `proxy:` is taken off a table's name, since proxymap(8)
serves Postfix's own processes only: the table behind it is asked. What stands in main.cf is read once, and again
when it has changed.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from gatepost.errors import GatepostError

_TIMEOUT = 10.0  # seconds for one question
_PATTERNS = frozenset({"regexp", "pcre", "cidr", "tcp"})
_TROUBLE = re.compile(r"\b(?:fatal|error|panic): ")

Stamp = tuple[int, int, int]
Known = TypeVar("Known")


@dataclass(frozen=True, slots=True)
class Tables:
    """
    The tables of the Postfix configured in `directory`.

    What goes wrong is raised as `error`, whose text names the table's `kind`, or says what fails with all of them,
    and ends in a `remedy`.
    """

    directory: Path
    kind: str
    failing: str
    remedy: str
    error: type[GatepostError]

    def stamp(self) -> Stamp:
        """Give what changes whenever main.cf does."""
        try:
            found = (self.directory / "main.cf").stat()
        except OSError as error:
            raise self.error(
                f"{self.directory}/main.cf cannot be read ({error.strerror}), so {self.failing}: set "
                f"[postfix] config_directory{self.remedy}"
            ) from error
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def ask(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        """Look several keys up in one table; raises unless it was asked and answered."""
        command = ("postmap", "-c", str(self.directory), "-q", "-", name)
        asked = "".join(f"{key}\n" for key in keys).encode("utf-8", "surrogateescape")
        try:
            done = subprocess.run(command, input=asked, capture_output=True, check=False, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise self.error(f"the {self.kind} {name} did not answer within {_TIMEOUT:.0f} s") from None
        except OSError as error:
            raise self.error(f"postmap cannot be started to ask {name}: {error.strerror}") from error
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode not in {0, 1} or _TROUBLE.search(said):
            raise self.error(
                f"the {self.kind} {name} cannot be asked: {' '.join(said.split())}; Gatepost's user must be able "
                f"to read it{self.remedy}"
            )
        return self._answers(done.stdout.decode("utf-8", "surrogateescape"), keys)

    def _answers(self, printed: str, keys: Sequence[str]) -> dict[str, str]:
        """Read lines of key, tab and entry."""
        lines = (line.partition("\t") for line in printed.split("\n") if line)
        found = {key: entry for key, _, entry in lines}
        if not found.keys() <= set(keys):
            raise self.error("postmap answered what it was not asked")
        return found


class Remembered(Generic[Known]):
    """What main.cf says, as long as it says it. Thread-safe."""

    def __init__(self, tables: Tables, read: Callable[[], Known]) -> None:
        """Take what reads main.cf, which is called by one thread at a time."""
        self._tables = tables
        self._read = read
        self._known: tuple[Stamp, Known] | None = None
        self._lock = Lock()

    def __call__(self) -> Known:
        """Give what main.cf says now; raises what reading it raises."""
        stamp = self._tables.stamp()
        known = self._known
        if known is None or known[0] != stamp:
            with self._lock:
                known = self._known
                if known is None or known[0] != stamp:
                    known = self._known = (stamp, self._read())
        return known[1]


def maps(value: str) -> Iterator[str]:
    """Split a list at commas and white space outside braces; `proxy:` is taken off."""
    for word in re.findall(r"(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|[^\s,{}])+", value):
        yield word.removeprefix("proxy:")


def is_table(name: str) -> bool:
    """Tell whether a word of a list names a table."""
    return ":" in name and not name.startswith("[")


def is_patterns(name: str) -> bool:
    """Tell whether a table holds patterns, which are asked for whole addresses alone."""
    return name.partition(":")[0] in _PATTERNS
