"""
`make demo`: a whole site on this machine, sample mail of every kind, and what arrived at each recipient.

A throw-away site under var/demo, a private Postfix, Gatepost and the receivers are started, the samples sent one
by one, and each judged by the bytes at the receivers. Exit status 0 only if everything arrived as expected.
With `--keep` everything stays up in the background until `--stop`, the next demo, or a kill.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lab import demo_folder, demo_report
from lab.demo_arrival import Eye
from lab.demo_explain import Explainer
from lab.demo_report import Judged
from lab.demo_run import Stage
from lab.demo_samples import Sample, introduce, samples
from lab.smime import Smime
from lab.town import Town, build

_FOLDER = Path(__file__).resolve().parent.parent / "var" / "demo"
_INTERRUPTED = 130


def main() -> int:
    """Run the demo and give the exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave everything running, and tell where to look")
    parser.add_argument("--stop", action="store_true", help="stop what an earlier --keep left running")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="where the site is made")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.stderr.write("make demo: Postfix needs root, even a private one; run it as root\n")
        return 1
    if given.stop:
        demo_folder.stop_earlier(given.folder.absolute())
        return 0
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, signal.default_int_handler)
    if given.keep:
        return _in_background(lambda done: _demo(given.folder.absolute(), done))
    return _guarded(lambda: _demo(given.folder.absolute(), None))


def _guarded(run: Callable[[], int]) -> int:
    """Run, with an interruption and faults told in plain words."""
    try:
        return run()
    except KeyboardInterrupt:
        sys.stderr.write("\nmake demo: interrupted; nothing is left running\n")
        return _INTERRUPTED
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"make demo: {error}\n")
        return 1


def _in_background(run: Callable[[Callable[[int], None]], int]) -> int:
    """Run in a process of its own that may outlive us; give the status that it reports when all is sent."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()

        def done(status: int) -> None:
            os.write(writing, bytes([status]))
            os.close(writing)

        os._exit(_guarded(lambda: run(done)))
    os.close(writing)
    while True:
        try:
            told = os.read(reading, 1)
            break
        except KeyboardInterrupt:
            os.kill(child, signal.SIGTERM)
    return told[0] if told else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _demo(folder: Path, done: Callable[[int], None] | None) -> int:
    """Build, send, judge, print; `done` takes the status where everything is to stay up after that."""
    out, began = demo_report.console(), time.monotonic()
    link, folder = _told(folder), demo_folder.prepare(folder)
    (folder / "pid").write_text(f"{os.getpid()}\n")
    with ExitStack() as stack:
        town, smime, stage = _start(out, folder, stack)
        judged = _play(out, samples(town, smime), stage)
        demo_report.show(out, judged)
        status = _sum_up(out, judged, time.monotonic() - began, link)
        if done is not None:
            out.print(demo_report.where(town, link, os.getpid()), soft_wrap=True)
            done(status)
            _stay(stage)
    return status


def _start(out: Console, folder: Path, stack: ExitStack) -> tuple[Town, Smime, Stage]:
    """Make and start everything; all of it ends with `stack`."""
    explainer = stack.enter_context(Explainer(folder / "gatepost" / "gatepost.toml"))
    with _step(out, "a site, its Postfix, the receivers, their keys and certificates"):
        town = build(folder, stack)
    with _step(out, "the samples' own keys, partners and rule"):
        smime = Smime(folder / "smime")
        owners = introduce(town, smime)
    with _step(out, "Postfix and Gatepost start"):
        stack.enter_context(town.postfix)
        stack.callback(town.site.stop)
        town.site.start()
    pool = stack.enter_context(ThreadPoolExecutor(1))
    eye = Eye(town.gpg, smime, owners, f"gatepost.{town.postfix.hostname}")
    return town, smime, Stage(town, eye, explainer, pool)


def _told(folder: Path) -> Path:
    """Give a path as people type it: from here, if it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


@contextmanager
def _step(out: Console, what: str) -> Iterator[None]:
    """Show what is under way, and how long it took."""
    began = time.monotonic()
    with out.status(what):
        yield
    out.print(f"[green]done[/green] {what} [dim]{time.monotonic() - began:.1f} s[/dim]")


def _play(out: Console, sent: Iterable[Sample], stage: Stage) -> list[Judged]:
    """Send every sample, tell how each went, and give them with their reasons."""
    played = []
    with out.status("sending samples") as status:
        for number, sample in enumerate(sent, 1):
            status.update(f"sample {number}: {sample.title}")
            began = time.monotonic()
            one = stage.play(sample)
            played.append(one)
            took = f"[dim]{time.monotonic() - began:.1f} s[/dim]"
            out.print(f"{demo_report.verdict(one.ok)} {number:2} {escape(sample.title)} {took}")
        status.update("reasons")
        return [one.judged() for one in played]


def _sum_up(out: Console, judged: Sequence[Judged], seconds: float, folder: Path) -> int:
    """Print the last lines and give the exit status."""
    failed = [number for number, one in enumerate(judged, 1) if not one.ok]
    rows = sum(len(one.rows) for one in judged)
    out.print("Arrived is what the receivers hold, opened by gpg or OpenSSL; why is what `gatepost explain` says.")
    out.print(f"Every message as it arrived: {folder}/arrived")
    if failed:
        numbers = ", ".join(map(str, failed))
        out.print(f"[bold red]{len(failed)} of {len(judged)} samples FAILED: {numbers}[/] ({seconds:.0f} s)")
        out.print(f"logs: {folder}/gatepost.log, {folder}/p/maillog")
        return 1
    out.print(f"[bold green]all {len(judged)} samples, {rows} recipients as expected[/] ({seconds:.0f} s)")
    return 0


def _stay(stage: Stage) -> None:
    """Keep the receivers up, with nothing on the terminal, and write down what arrives, until a signal comes."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    while True:
        time.sleep(0.5)
        stage.take()


if __name__ == "__main__":
    sys.exit(main())
