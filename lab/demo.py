"""
`make demo`: a throw-away site under var/demo, sample mail of every kind, and what arrived.

A private Postfix, Gatepost and receivers are started on high loopback ports; nothing else of the host is
touched. The exit status is 0 only if every sample arrived as expected. With KEEP=1 everything is left running
and the next `make demo` ends it.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lab.client import Outcome
from lab.place import short_folder
from lab.samples import NOTHING, REFUSED, WAITS, Sample, arrived, noticed, samples
from lab.town import Town, build
from lab.wait import until

_HERE = Path(__file__).parent.parent / "var" / "demo"
_WIDTH = 160  # of the table where there is no terminal
_LONGEST_PATH = 60  # leaves room for the sockets' names below it: 108 bytes is a socket path's limit
_RULE = """\
[[rule]]
name = "blueprints stay here"
when = { direction = "out", subject = "blueprint" }
demand = "reject"
"""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the table: what arrived at one recipient."""

    sample: Sample
    recipient: str
    arrived: str
    reason: str

    @property
    def good(self) -> bool:
        return self.arrived == self.sample.expected[self.recipient]


def main() -> int:
    """Run the demo; with KEEP set, in a process that goes on running after the table."""
    if os.environ.get("KEEP", "") not in {"", "0"} and "--stay" not in sys.argv:
        return _run_detached()
    return _run(stay="--stay" in sys.argv)


def _run_detached() -> int:
    """Run in a process of its own session, and return with its result as soon as it has one."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "lab.demo", "--stay"]
    subprocess.Popen(
        command, start_new_session=True, pass_fds=[writing], env=os.environ | {"DEMO_RESULT": str(writing)}
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        said = result.read(1)
    return 0 if said == b"0" else 1


def _run(*, stay: bool) -> int:
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    if os.geteuid() != 0:
        console.print("[red]the demo starts a private Postfix, and Postfix needs root: run it as root")
        return 1
    _end_previous()
    with ExitStack() as stack:
        folder = stack.enter_context(_place())
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            town, lines, faults = _act(folder, stack, progress)
        good = all(line.good for line in lines) and not faults
        _print(console, lines, faults, good=good)
        if stay:
            _stay(console, town, good=good)
    return 0 if good else 1


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Give var/demo, or a folder elsewhere that it points to if Postfix or a socket could not live there."""
    _HERE.parent.mkdir(exist_ok=True)
    if len(str(_HERE)) <= _LONGEST_PATH and all(parent.stat().st_mode & 0o001 for parent in _HERE.parents):
        _HERE.mkdir()
        _HERE.chmod(0o755)
        yield _HERE
    else:
        with short_folder("gp-demo-") as folder:
            _HERE.symlink_to(folder)
            yield folder
    _remove()


def _end_previous() -> None:
    """End a demo that was left running, and clear away what one left."""
    pid_file = _HERE / "demo.pid"
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if b"lab.demo" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
            until(
                lambda: not Path(f"/proc/{pid}").exists() or not _HERE.exists(), 60, "the demo left running ends"
            )
    _remove()


def _remove() -> None:
    if _HERE.is_symlink():
        _HERE.unlink()
    shutil.rmtree(_HERE, ignore_errors=True)


def _act(folder: Path, stack: ExitStack, progress: Progress) -> tuple[Town, list[_Line], list[str]]:
    """Build the town, send everything, wait, and look at what arrived."""
    step = progress.add_task("making keys, a Postfix and a site", total=None)
    town = build(folder, stack)
    (town.site.folder / "rules" / "90-demo.toml").write_text(_RULE)
    progress.update(step, description="starting Postfix and Gatepost")
    stack.enter_context(town.postfix)
    stack.callback(town.site.stop)
    town.site.start()
    all_samples = samples(town)
    progress.update(step, description="sending", total=len(all_samples))
    outcomes = []
    for sample in all_samples:
        outcomes.append(sample.send(town))
        if sample.from_outside:
            until(lambda word=sample.word: _came(town, word), 20, f"{sample.title}: arrives")  # type: ignore[misc]
        progress.advance(step)
    progress.update(step, description="waiting for the receivers", total=None)
    with ThreadPoolExecutor(2) as pool:
        reasons = list(pool.map(lambda sample: _reasons(town, sample), all_samples))
        _settle(town, all_samples)
    return town, *_judge(town, all_samples, outcomes, reasons)


def _came(town: Town, word: str) -> bool:
    return any(word.encode() in message.data for message in town.inside.messages)


def _settle(town: Town, all_samples: Sequence[Sample]) -> None:
    """Wait until only what must wait is queued."""
    waiting = {recipient for sample in all_samples for recipient, how in sample.expected.items() if how == WAITS}
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        queued = {each["address"] for message in town.postfix.queue() for each in message["recipients"]}
        if queued <= waiting:
            return
        time.sleep(0.2)


def _reasons(town: Town, sample: Sample) -> dict[str, str]:
    """Give Gatepost's own reason by recipient, for the table's last column only."""
    done = town.site.gatepost("--json", "why", sample.message_id, check=False)
    if done.returncode:
        return {}
    events = json.loads(done.stdout)["events"]
    return {event["recipient"]: _in_short(event["rules"], event["reasons"]) for event in events}


def _in_short(rules: Sequence[str], reasons: Sequence[str]) -> str:
    """Give what asked for protection, and what then settled how; a fingerprint by its end."""
    first = f"rule: {rules[0]}" if rules else reasons[0] if reasons else ""
    last = [reasons[-1]] if len(reasons) > 1 else []
    return re.sub(r"[0-9A-F]{24}([0-9A-F]{16})", r"…\1", "; ".join([first, *last]))


def _judge(
    town: Town, all_samples: Sequence[Sample], outcomes: Sequence[Outcome], reasons: Sequence[dict[str, str]]
) -> tuple[list[_Line], list[str]]:
    lines, faults = [], []
    for sample, outcome, why in zip(all_samples, outcomes, reasons, strict=True):
        for recipient in sample.expected:
            reason = (
                outcome.reply.text.splitlines()[0]
                if not outcome.ok
                else why.get(recipient, "nothing asks for protection")
            )
            lines.append(_Line(sample, recipient, arrived(town, sample, recipient, outcome), reason))
        if sample.notice and not noticed(town.inside, sample):
            faults.append(f"{sample.title}: the sender got no notice")
    faults += [f"{at}: our result field was forged" for at in _forged_results(town)]
    return lines, faults


def _forged_results(town: Town) -> list[str]:
    """Name the inside recipients of a message with more than one result field, or one from outside."""
    return [message.addresses[0] for message in town.inside.messages
            if message.sender and len(message.values("Gatepost-Result")) > 1]  # fmt: skip


_COLOURS = {NOTHING: "yellow", WAITS: "yellow", REFUSED: "yellow"}


def _print(console: Console, lines: Sequence[_Line], faults: Sequence[str], *, good: bool) -> None:
    table = Table(title="What arrived, read from the receivers' bytes", title_justify="left")
    for column in ("message", "recipient", "arrived", "right", "reason, as Gatepost gives it"):
        table.add_column(column, overflow="fold")
    last = ""
    for line in lines:
        colour = _COLOURS.get(line.arrived, "green") if line.good else "red"
        title = line.sample.title if line.sample.title != last else ""
        last = line.sample.title
        verdict = "[green]yes" if line.good else f"[red]no: {line.sample.expected[line.recipient]}"
        table.add_row(title, line.recipient, f"[{colour}]{line.arrived}", verdict, line.reason)
    console.print(table)
    for fault in faults:
        console.print(f"[red]{fault}")
    count = f"{sum(line.good for line in lines)} of {len(lines)} recipients got what they should"
    console.print(f"[bold green]{count}" if good else f"[bold red]{count}")


def _stay(console: Console, town: Town, *, good: bool) -> None:
    """Print where to look, report the result to who waits for it, and stay until SIGTERM."""
    (_HERE / "demo.pid").write_text(str(os.getpid()))
    console.print(
        f"\nLeft running, process {os.getpid()}; the next `make demo` or `kill {os.getpid()}` ends it.\n"
        f"  settings   {town.site.config}\n"
        f"  command    .venv/bin/gatepost -c {town.site.config} quarantine list\n"
        f"  Postfix    {town.postfix.config_dir}; its log: {town.postfix.maillog}\n"
        f"  Gatepost's log  {town.site.log_file}\n"
        f"  send mail from inside to 127.0.0.1:{town.postfix.inside_port}, from outside to "
        f"127.0.0.1:{town.postfix.outside_port}",
        highlight=False,
        soft_wrap=True,
    )
    result = int(os.environ["DEMO_RESULT"])
    os.write(result, b"0" if good else b"1")
    os.close(result)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    sys.exit(main())
