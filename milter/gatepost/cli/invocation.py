"""
One call of the command line: which site it is about, and how its answer is printed.

A command takes `ctx: typer.Context`, reads `invocation(ctx)`, and prints only through it. With --json the answer
is one JSON document on stdout whose form is documented and changes by addition only; else text for people.
Control characters of a message (a subject may carry terminal escapes) never reach the terminal.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gatepost.errors import GatepostError

if TYPE_CHECKING:
    from gatepost.settings import Settings


@dataclass(frozen=True)
class Invocation:
    """The global options of one call, and the site that they name."""

    config: Path
    json: bool = False

    @cached_property
    def settings(self) -> "Settings":
        """The site's settings, read and validated when first needed; raises ConfigError with every fault."""
        from gatepost.settings import read

        return read(self.config)

    def emit(self, value: object, text: str) -> None:
        """Print the answer: `value` as JSON with --json, else `text`."""
        if self.json:
            typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
        elif text:
            typer.echo("\n".join(printable(line) for line in text.splitlines()))

    def emit_table(self, value: object, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print the answer: `value` as JSON with --json, else the rows in columns under their headings."""
        self.emit(value, "" if self.json else columns(headings, rows))


def invocation(ctx: typer.Context) -> Invocation:
    """Give the call's global options, as the root command read them."""
    found = ctx.find_object(Invocation)
    if found is None:
        raise GatepostError("no global options were read; call the command through `gatepost`")
    return found


def columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay rows out in columns that are as wide as their widest cell."""
    table = [list(headings), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def printable(text: str) -> str:
    """Replace what is not printable (line ends, escapes, bidirectional controls) by its escaped form."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
