"""
The files of a Postfix configuration: read, compared, and replaced without a moment when one is half written.
"""

import difflib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.mta.postfix.postconf import Configuration


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file's text before and after; None where there is no file."""

    path: Path
    before: str | None
    after: str | None

    def diff(self) -> str:
        """Show the change as a unified diff, empty if there is none."""
        before, after = self.before or "", self.after or ""
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            str(self.path) if self.before is not None else "/dev/null",
            str(self.path) if self.after is not None else "/dev/null",
            n=1,
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def read_configuration(directory: Path) -> Configuration:
    """Read main.cf and master.cf; ConfigError tells which is missing."""
    main, master = (read(directory / name) for name in ("main.cf", "master.cf"))
    if main is None or master is None:
        missing = "main.cf" if main is None else "master.cf"
        raise ConfigError(f"{directory}: there is no {missing}: name Postfix's configuration with --config-dir")
    return Configuration(directory, main, master)


def read(path: Path) -> str | None:
    """Give a file's text, bytes that are not UTF-8 escaped; None if it is not there."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def write(changes: Sequence[FileChange]) -> None:
    """Make the changes in their order, each whole or not at all; mode and owner stay."""
    for change in changes:
        if change.before == change.after:
            continue
        if change.after is None:
            change.path.unlink(missing_ok=True)
        else:
            _replace(change.path, change.after)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep a second `setup` away from this configuration while changing it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(
            f"{directory}: {error.strerror}: name Postfix's configuration with --config-dir"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    passing = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _like(target, file.fileno())
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        passing.replace(target)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise


def _like(path: Path, descriptor: int) -> None:
    """Give the new file the mode and owner of the one that it replaces; 0644 for a new one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, 0o644)
        return
    os.fchmod(descriptor, status.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.fchown(descriptor, status.st_uid, status.st_gid)
