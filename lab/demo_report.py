"""
The demo's table: what was sent, to whom, what was expected, what arrived, and why.

On a terminal in colour; elsewhere plain text, wide enough to read. A narrow terminal gets a list instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab.demo_arrival import Form
from lab.demo_samples import Sample
from lab.town import Town

_WIDE, _PLAIN_WIDTH = 110, 170


@dataclass(frozen=True, slots=True)
class Row:
    """One recipient of a sample: what was expected, what arrived, and the reason for it."""

    address: str
    expected: Form | None  # None: nobody should have got anything there
    arrived: Form
    why: str

    @property
    def ok(self) -> bool:
        """Whether it arrived as expected."""
        return self.expected == self.arrived


@dataclass(frozen=True, slots=True)
class Judged:
    """A sample and what came of it; `reply` is the server's answer to the client."""

    sample: Sample
    reply: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether the answer and every recipient's copy were as expected."""
        return self.reply.startswith(self.sample.reply) and all(row.ok for row in self.rows)


def console() -> Console:
    """Give the console: as wide as the terminal; where there is none, wide and plain."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def show(out: Console, judged: Sequence[Judged]) -> None:
    """Print everything that was sent and what came of it."""
    if out.width >= _WIDE:
        out.print(_table(judged, marked=not out.is_terminal))
    else:
        for number, one in enumerate(judged, 1):
            _list(out, number, one)


def _table(judged: Sequence[Judged], *, marked: bool) -> Table:
    table = Table(box=box.ASCII if marked else box.ROUNDED, show_lines=False, header_style="bold", expand=True)
    table.add_column("sent", ratio=5)
    table.add_column("to", ratio=4, overflow="fold")
    table.add_column("expected", ratio=7, overflow="fold")
    table.add_column("arrived", ratio=7, overflow="fold")
    table.add_column("", width=4, no_wrap=True)
    table.add_column("why", ratio=9)
    for number, one in enumerate(judged, 1):
        for place, row in enumerate(one.rows):
            table.add_row(
                _sent(number, one) if place == 0 else "",
                escape(row.address),
                _colored(row.expected, row),
                _colored(row.arrived, row),
                verdict(row.ok and (place > 0 or one.ok)),
                f"[dim]{escape(row.why)}[/dim]",
            )
        table.add_section()
    return table


def _sent(number: int, one: Judged) -> str:
    sample = one.sample
    lines = [f"[bold]{number}. {escape(sample.title)}[/bold]"]
    if not sample.release:
        lines += [f"from {escape(sample.sender)}", f"Subject: [cyan]{escape(sample.subject)}[/cyan]"]
    if sample.about:
        lines.append(f"[italic]{escape(sample.about)}[/italic]")
    if sample.reply != "250" or not one.reply.startswith(sample.reply):
        lines.append(f"server: [yellow]{escape(one.reply.partition(chr(10))[0])}[/yellow]")
    return "\n".join(lines)


def _colored(form: Form | None, row: Row) -> str:
    if form is None:
        return "nothing for this address"
    first, *others = (escape(line) for line in form.lines())
    return "\n".join([f"[{_color(form) if row.ok else 'red'}]{first}[/]", *others])


def _color(form: Form) -> str:
    if form.way.startswith("OpenPGP"):
        return "green"
    if form.way.startswith("nothing"):
        return "yellow"
    return "blue" if "TLS" in form.way else "default"


def verdict(ok: bool) -> str:  # noqa: FBT001 - it is the one thing told
    """Give the word for it, in colour."""
    return "[bold green]ok[/]" if ok else "[bold white on red]FAIL[/]"


def _list(out: Console, number: int, one: Judged) -> None:
    out.print(_sent(number, one))
    for row in one.rows:
        out.print(f"  {verdict(row.ok)} [bold]{escape(row.address)}[/bold]")
        grid = Table.grid(padding=(0, 2))
        grid.add_row("    expected", _colored(row.expected, row))
        grid.add_row("    arrived", _colored(row.arrived, row))
        grid.add_row("    why", f"[dim]{escape(row.why)}[/dim]")
        out.print(grid)
    out.print()


def shortened(reasons: Sequence[str]) -> str:
    """Join reasons, with fingerprints shortened for people."""
    return re.sub(r"\b[0-9A-F]{32}([0-9A-F]{8})\b", r"…\1", "; ".join(reasons))


def where(town: Town, folder: Path, pid: int) -> str:
    """Tell where to look at what is left running, and how to stop it."""
    postfix, config = town.postfix, folder / "gatepost" / "gatepost.toml"
    inside, submission, outside = postfix.inside_port, postfix.submission_port, postfix.outside_port
    lines = {
        "settings": config,
        "command": f".venv/bin/gatepost -c {config} explain, why, partner, key, quarantine, doctor",
        "send to": f"127.0.0.1:{inside} as an insider, :{submission} by submission, :{outside} as an outsider",
        "receivers": ", ".join(f"{sink.name} {sink.port}" for sink in town.sinks),
        "arrived": f"{folder}/arrived, a file for each message",
        "logs": f"{folder}/gatepost.log, {folder}/p/maillog",
        "queue": f"postqueue -c {folder}/p/etc -p",
        "their keys": f"gpg --homedir {folder}/gpg --list-keys",
        "stop": "make demo STOP=1",
    }
    told = "\n".join(f"  [bold]{name:10}[/] {escape(str(text))}" for name, text in lines.items())
    return f"[bold]Left running[/bold], process {pid}\n{told}"
