"""
`gatepost explain`, asked again and again in one process, as starting the command takes longer than its answer.

As a program it reads a request a line, JSON on stdin, and answers a line each, until its input ends.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.place import note


class Explainer:
    """Asks the process; use it as a context manager, from one thread at a time."""

    def __init__(self, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        note("group", self._process.pid)

    def reasons(self, arguments: Sequence[str], message: bytes) -> dict[str, list[str]]:
        """Give each recipient's reasons; empty if the command failed."""
        request = {"arguments": list(arguments), "message": base64.b64encode(message).decode()}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - opened with pipes
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
        told: dict[str, Any] = json.loads(stdout.readline() or b"{}")
        return {one["address"]: one["reasons"] for one in told.get("recipients", [])}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        note("ended", self._process.pid)


def main() -> None:
    """Answer requests until the input ends."""
    from typer.testing import CliRunner  # noqa: PLC0415 - the same

    from gatepost.cli.main import app  # noqa: PLC0415 - slow to import, and needed in this process only

    runner = CliRunner()
    for line in sys.stdin:
        request = json.loads(line)
        command = ["-c", sys.argv[1], "--json", "explain", *request["arguments"], "-"]
        done = runner.invoke(app, command, input=base64.b64decode(request["message"]))
        answer = json.loads(done.stdout) if done.exit_code == 0 else {}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
