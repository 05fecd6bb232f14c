"""
Postfix's log in the systemd journal, read by `journalctl --follow`.

Only entries of Postfix's own user and of facility mail are asked for: the journal knows by the kernel who wrote an
entry, so nobody else on the host can tell of deliveries. A place is a cursor, systemd.journal-fields(7). Where
journalctl ends it is started again behind the last entry that was read.
"""

import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from gatepost.errors import LogError
from gatepost.log import logger
from gatepost.mta.postfix.log_line import LONGEST, Line

_AT_ONCE = 1 << 20
_LONGEST_ENTRY = 16 * LONGEST  # a message that is no UTF-8 comes as a list of numbers
_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID"


class LogJournal:
    """Follows the journal. For one thread alone."""

    def __init__(
        self, owner: int | None, place: Mapping[str, object] | None, command: Sequence[str] = ("journalctl",)
    ) -> None:
        """Take the number of Postfix's user, and the place; without one, begin with what comes from now on."""
        self._matches = ["SYSLOG_FACILITY=2", *([] if owner is None else [f"_UID={owner}"])]
        self._command = tuple(command)
        cursor = (place or {}).get("cursor")
        self._cursor = cursor if isinstance(cursor, str) else ""
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    @property
    def place(self) -> dict[str, object]:
        """How far was read, as plain data."""
        return {"cursor": self._cursor}

    def read(self) -> list[Line]:
        """Give the entries that have come; raises LogError."""
        if self._process is None:
            self._start()
        octets = self._rest + self._available()
        *entries, self._rest = octets.split(b"\n")
        if len(self._rest) > _LONGEST_ENTRY:
            self._rest = b""
        return [line for entry in entries if (line := self._line(entry)) is not None]

    def close(self) -> None:
        """End journalctl."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
            self._process = None
            self._rest = b""

    def _start(self) -> None:
        begin = [f"--after-cursor={self._cursor}"] if self._cursor else ["--lines=0"]
        command = [
            *self._command,
            *("--follow", "--no-pager", "--quiet", "--output=json", f"--output-fields={_FIELDS}"),
            *begin,
            *self._matches,
        ]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise LogError(f"{self._command[0]}: {error.strerror}") from error

    def _available(self) -> bytes:
        """Read what is there without waiting; raises LogError where journalctl has ended."""
        found = b""
        if self._process is None or self._process.stdout is None:
            return found
        while len(found) < _AT_ONCE and _ready(self._process.stdout):
            octets = os.read(self._process.stdout.fileno(), _AT_ONCE)
            if not octets:
                if found:
                    break
                said = self._said()
                self.close()
                if self._cursor and "cursor" in said:
                    logger.warning("lines of the mail server's log were missed", cause=said)
                    self._cursor = ""
                raise LogError(f"journalctl ended: {said}")
            found += octets
        return found

    def _said(self) -> str:
        if self._process is None or self._process.stderr is None:
            return ""
        text = self._process.stderr.read(1000).decode("utf-8", "replace")
        return " ".join(text.split()) or f"exit status {self._process.wait()}"

    def _line(self, octets: bytes) -> Line | None:
        """Read one entry; one that cannot be read is passed over."""
        if not octets or len(octets) > _LONGEST_ENTRY:
            return None
        try:
            match json.loads(octets):
                case {
                    "__CURSOR": str(cursor),
                    "__REALTIME_TIMESTAMP": str(at),
                    "SYSLOG_IDENTIFIER": str(name),
                    "MESSAGE": message,
                    **others,
                }:
                    self._cursor = cursor
                    text = message if isinstance(message, str) else bytes(message).decode("utf-8", "replace")
                    pid = str(others.get("SYSLOG_PID") or others.get("_PID") or "")
                    return Line(int(at) / 1e6, name, int(pid), text) if pid.isdigit() else None
        except (ValueError, TypeError):
            pass
        return None


def _ready(pipe: IO[bytes]) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])
