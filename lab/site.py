# ruff: noqa: A005 - imported as lab.site only
"""
A whole Gatepost site beside a private Postfix, driven from outside by the command `gatepost` alone.

The order is an admin's: `init`, settings, `setup postfix --apply`, `run`. All services are one process
group, so that they can be stopped, or killed, together or one by one.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.namespace import command_in
from lab.place import free_port, note
from lab.postfix import Postfix
from lab.wait import until

# Runs the command line for each of the argument lists that it reads, and prints what each printed.
_EACH = """
import contextlib, io, json, sys
from gatepost.__main__ import main
said = []
for arguments in json.load(sys.stdin):
    sys.argv = ["gatepost", *arguments]
    said.append(io.StringIO())
    with contextlib.redirect_stdout(said[-1]), contextlib.suppress(SystemExit):
        main()
print(json.dumps([one.getvalue() for one in said]))
"""
Setting = str | bool | int | float | Sequence[str]


class GatepostSite:
    """
    One site, on the machine on which its Postfix runs.

    `domains` are its own; `settings` maps `section.key` to a value and goes into gatepost.toml.

    `setup` are more options of `setup postfix`.

    Use it as a context manager, or call `start` and `stop`; `create` alone makes it without starting it.
    """

    def __init__(
        self,
        folder: Path,
        postfix: Postfix,
        *,
        domains: Sequence[str],
        settings: Mapping[str, Setting] | None = None,
        setup: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.config = folder / "gatepost.toml"
        self.log_file = folder.parent / f"{folder.name}.log"
        self.postfix = postfix
        self.domains = tuple(domains)
        self.settings: dict[str, Setting] = {
            "gateway.outside_listeners": ["outside"],
            "gateway.reinject": f"127.0.0.1:{free_port()}",
            "gateway.reinject_tls": f"127.0.0.1:{free_port()}",
            "gateway.behind_inside": f"127.0.0.1:{free_port()}",
            "gateway.behind_outside": f"127.0.0.1:{free_port()}",
            "gateway.behind_notices": f"127.0.0.1:{free_port()}",
            **(settings or {}),
        }
        self._setup = tuple(setup)
        self.environment: dict[str, str] = {}  # for the services, beside our own
        self._process: subprocess.Popen[bytes] | None = None

    # -- the command line ---------------------------------------------------------------------------------

    def gatepost(
        self, *arguments: str | Path, check: bool = True, data: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `gatepost -c CONFIG …`; raise RuntimeError with what it printed if it fails and `check` is set."""
        command = self._command(*map(str, arguments))
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=120)
        text = subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        if check and done.returncode:
            raise RuntimeError(f"gatepost {' '.join(map(str, arguments))}: exit {done.returncode}\n{text.stderr}")
        return text

    def _command(self, *arguments: str) -> list[str]:
        """Give the command that runs `gatepost -c CONFIG …` on the machine of the site's Postfix."""
        return command_in(
            self.postfix.within, [sys.executable, "-m", "gatepost", "-c", str(self.config), *arguments]
        )

    def json(self, *arguments: str | Path) -> Any:  # noqa: ANN401 - each command documents its own shape
        """Run a command with `--json` and give what it printed."""
        return json.loads(self.gatepost("--json", *arguments).stdout)

    def json_each(self, *commands: Sequence[str]) -> list[Any]:
        """Run many commands with `--json`, one after another in one process, and give what each printed."""
        command = command_in(self.postfix.within, [sys.executable, "-c", _EACH])
        given = json.dumps([["-c", str(self.config), "--json", *one] for one in commands])
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise RuntimeError(f"gatepost {commands}: exit {done.returncode}\n{done.stderr}")
        return [json.loads(said) for said in json.loads(done.stdout)]

    # -- life ---------------------------------------------------------------------------------------------

    def create(self) -> Self:
        """Make the site's folder and let `setup postfix` configure the private Postfix for it."""
        options = [part for domain in self.domains for part in ("--domain", domain)]
        self.gatepost("init", self.folder, *options, "--hostname", self.postfix.hostname)
        for key, value in self.settings.items():
            self.set(key, value)
        self.gatepost("setup", "postfix", "--config-dir", self.postfix.config_dir, "--apply", *self._setup)
        return self

    def start(self) -> Self:
        """Start `gatepost run` and wait for its line `ready`."""
        log = self.log_file.open("ab")
        offset = self.log_file.stat().st_size
        command = self._command("run")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | self.environment,
        )
        log.close()
        note("group", self._process.pid)
        until(lambda: self._ready(offset), 180, lambda: f"`gatepost run` is ready; it said:\n{self.log()[-4000:]}")
        return self

    def _ready(self, offset: int) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"`gatepost run` ended at once; it said:\n{self.log()[-4000:]}")
        said = self.log_file.read_bytes()[offset:]
        return re.search(rb"^ready$", said, re.MULTILINE) is not None

    def stop(self, timeout: float = 40) -> int:
        """Stop by SIGTERM and give the exit code; kill what does not stop in time."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.terminate()
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"`gatepost run` did not stop within {timeout} s of SIGTERM") from None
        finally:
            self._kill_group(process)

    def kill(self) -> None:
        """Kill every process of the site at once (SIGKILL)."""
        if self._process is not None:
            process, self._process = self._process, None
            self._kill_group(process)

    @staticmethod
    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        note("ended", process.pid)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        """The process ID of `gatepost run`; raises RuntimeError if it does not run."""
        if self._process is None:
            raise RuntimeError("the site is not started")
        return self._process.pid

    def service_pids(self, service: str) -> list[int]:
        """Give the process IDs of one service, such as `milter` or `keys`."""
        return [pid for pid, arguments in self._processes() if arguments[-2:] == ["run", service]]

    def kill_service(self, service: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill one service, or send it another signal; the supervisor starts one that ended again."""
        for pid in self.service_pids(service):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                    if str(self.config) in arguments:
                        yield int(entry.name), arguments

    def memory(self) -> int:
        """Give the peak resident memory of all its processes together, in bytes."""
        total = 0
        for pid, _ in self._processes():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                peak = re.search(r"VmHWM:\s+(\d+) kB", status)
                total += int(peak[1]) * 1024 if peak else 0
        return total

    def log(self) -> str:
        """Give all that the services have written."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    # -- settings -----------------------------------------------------------------------------------------

    def set(self, key: str, value: Setting) -> None:
        """Set `section.key` in gatepost.toml, as an admin edits it; it counts from the next start."""
        section, _, name = key.partition(".")
        lines = self.config.read_text().splitlines()
        line = f"{name} = {json.dumps(value if isinstance(value, str | bool | int | float) else list(value))}"
        self.config.write_text("\n".join(_with_setting(lines, section, name, line)) + "\n")

    def setting(self, key: str) -> Any:  # noqa: ANN401 - as typed in the file
        """Give `section.key` as it stands in gatepost.toml."""
        section, _, name = key.partition(".")
        return tomllib.loads(self.config.read_text())[section][name]

    def __enter__(self) -> Self:
        return self.create().start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()


def _with_setting(lines: Sequence[str], section: str, name: str, line: str) -> list[str]:
    """Put `line` into its section: in place of the key's own line, else right under the section's head."""
    head = f"[{section}]"
    if head not in (existing.strip() for existing in lines):
        return [*lines, "", head, line]
    start = next(place for place, existing in enumerate(lines) if existing.strip() == head) + 1
    end = next((place for place in range(start, len(lines)) if lines[place].startswith("[")), len(lines))
    own = re.compile(rf"{re.escape(name)}\s*=")
    for place in range(start, end):
        if own.match(lines[place]):
            return [*lines[:place], line, *lines[place + 1 :]]
    return [*lines[:start], line, *lines[start:]]
