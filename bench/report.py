"""
The table: medians and ranges, ratios to the milter that does nothing and to OpenDKIM, targets reached or missed.

A ratio is the median of the ratios within each round, not the ratio of two medians: what disturbed the host in
one round disturbed both.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from rich.console import Console
from rich.table import Table as Grid

from bench.batch import Taken

JUDGED = 4096  # octets: the message size that the targets are for
REACH = {  # of the milter that does nothing
    "gatepost-pass": ("passing", 0.85),
    "gatepost-openpgp": ("OpenPGP", 0.75),
    "gatepost-smime": ("S/MIME", 0.67),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One variant: a Taken for each round, and its processes' peak memory in octets."""

    name: str
    rounds: tuple[Taken, ...]
    memory: int


@dataclass(frozen=True, slots=True)
class Table:
    """All variants at one message size in octets; `count` messages a round."""

    size: int
    count: int
    lines: tuple[Line, ...]

    def line(self, name: str) -> Line | None:
        """Give a variant's line, if it was measured."""
        return next((line for line in self.lines if line.name == name), None)

    def ratio(self, name: str, base: str) -> float | None:
        """Give how much faster a variant was than another, if both were measured."""
        one, other = self.line(name), self.line(base)
        if one is None or other is None:
            return None
        return median(a.rate / b.rate for a, b in zip(one.rounds, other.rounds, strict=True))


def show(table: Table) -> None:
    """Print a table and what it says of the targets."""
    grid = Grid(title=f"{table.size} octets, {table.count} messages a round, {len(table.lines[0].rounds)} rounds")
    for heading in ("", "msg/s", "CPU ms per message", "to noop", "to OpenDKIM", "peak memory MB"):
        grid.add_column(heading, justify="right" if heading else "left")
    for line in table.lines:
        grid.add_row(
            line.name,
            _spread(line, lambda taken: taken.rate, 0),
            _spread(line, lambda taken: taken.cpu, 2) if line.memory else "-",
            _number(table.ratio(line.name, "noop")),
            _number(table.ratio(line.name, "opendkim")),
            f"{line.memory / 1e6:.0f}" if line.memory else "-",
        )
    console = Console(width=None if Console().is_terminal else 115)
    console.print(grid)
    for sentence in targets(table):
        console.print(sentence)
    console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")


def targets(table: Table) -> list[str]:
    """Say of each target that these lines can judge whether it is reached; none at other sizes than 4 KB."""
    if table.size != JUDGED:
        return []
    said = []
    for name, (what, least) in REACH.items():
        ratio = table.ratio(name, "noop")
        if ratio is not None:
            said.append(_judged(f"{what} at least {least} of noop: {ratio:.2f}", reached=ratio >= least))
    faster = table.ratio("gatepost-openpgp", "opendkim")
    ours, theirs = table.line("gatepost-openpgp"), table.line("opendkim")
    if faster is not None and ours is not None and theirs is not None:
        said.append(_judged(f"OpenPGP faster than OpenDKIM: {faster:.2f} times", reached=faster > 1))
        mine, his = (median(taken.cpu for taken in line.rounds) for line in (ours, theirs))
        said.append(_judged(f"OpenPGP at less CPU than OpenDKIM: {mine:.2f} to {his:.2f} ms", reached=mine < his))
    return said


def as_json(tables: Sequence[Table]) -> str:
    """Give everything that was measured."""
    return json.dumps([asdict(table) | {"targets": targets(table)} for table in tables], indent=1) + "\n"


def _judged(sentence: str, *, reached: bool) -> str:
    return f"{'reached' if reached else 'MISSED '}  {sentence}"


def _spread(line: Line, value: Callable[[Taken], float], digits: int) -> str:
    values = [value(taken) for taken in line.rounds]
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
