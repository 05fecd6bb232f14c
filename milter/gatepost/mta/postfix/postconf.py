"""
What Postfix itself makes of a configuration: values and versions asked of its command `postconf`.

The configuration is given as text and laid into a passing folder, so that values can be asked for which are
not in force: the admin's without Gatepost's, or ours before they are written.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import ConfigError

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """A Postfix configuration as text; `directory` is where it is, or will be, in force."""

    directory: Path
    main: str
    master: str

    def values(self, names: Sequence[str], *, expand: bool) -> dict[str, str]:
        """Give the value in force of each parameter, with `$name` in it expanded or left."""
        printed = self._postconf(*(["-x"] if expand else []), *names)
        found = dict.fromkeys(names, "")
        for line in printed.splitlines():
            name, _, value = line.partition("=")
            found[name.strip()] = value.strip()
        return found

    def check(self) -> None:
        """Raise ConfigError with Postfix's words if it cannot read this."""
        self._postconf("-n")
        self._postconf("-M")

    def _postconf(self, *arguments: str) -> str:
        with tempfile.TemporaryDirectory(prefix="gatepost-postfix-") as folder:
            for name, text in (("main.cf", self.main), ("master.cf", self.master)):
                Path(folder, name).write_text(text, encoding="utf-8", errors="surrogateescape")
                # Postfix waits for two seconds before it reads a file that was just written.
                os.utime(Path(folder, name), (0, 0))
            here = ("-o", f"config_directory={self.directory}")
            return _run("postconf", "-c", folder, *here, *arguments, directory=self.directory)


def version() -> str:
    """Give Postfix's version, such as `3.7.11`."""
    return _run("postconf", "-d", "-h", "mail_version", directory=None).strip()


def mail_owner(directory: Path) -> str:
    """Give the user that Postfix's processes run as."""
    return _run("postconf", "-c", str(directory), "-h", "mail_owner", directory=directory).strip()


def value(directory: Path, name: str) -> str:
    """Give the value of one parameter, with `$name` in it expanded; raises ConfigError."""
    return _run("postconf", "-c", str(directory), "-x", "-h", name, directory=directory).strip()


def size_limit(directory: Path) -> int:
    """Give the largest message that Postfix takes, in octets; 0 where there is no limit. Raises ConfigError."""
    value = _run("postconf", "-c", str(directory), "-x", "-h", "message_size_limit", directory=directory)
    return int(value) if value.strip().isdigit() else 0


def _run(*command: str, directory: Path | None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_TIMEOUT, encoding="utf-8", errors="surrogateescape"
        )
    except FileNotFoundError:
        raise ConfigError(
            "the command `postconf` is not there: install Postfix, or add its folder to PATH"
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"`postconf` did not answer within {_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise ConfigError(f"{directory}: Postfix cannot read this configuration: {done.stderr.strip()}")
    return done.stdout
