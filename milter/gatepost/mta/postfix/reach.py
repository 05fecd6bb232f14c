"""
Postfix's way to our sockets: by the group of the directory that they lie in.

The directory gets the group of Postfix's mail_owner and the set-group-ID bit, so that every socket made in it
later belongs to that group; nobody else may enter. Whoever reaches the milter could have mail sent, so the
directory is the guard.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from gatepost.errors import ConfigError

_MODE = 0o2750


def open_to(mail_owner: str, sockets: Iterable[str]) -> None:
    """Let Postfix's user reach the sockets (`unix:/path`; others are left out); raises ConfigError."""
    try:
        group = pwd.getpwnam(mail_owner).pw_gid
    except KeyError:
        raise ConfigError(f"Postfix's mail_owner {mail_owner} is no user of this host") from None
    for directory in {Path(one.removeprefix("unix:")).parent for one in sockets if one.startswith("unix:")}:
        _open(directory, group)


def _open(directory: Path, group: int) -> None:
    try:
        if directory.stat().st_gid != group:
            os.chown(directory, -1, group)
        directory.chmod(_MODE)
    except FileNotFoundError:
        return  # systemd makes it, with the right group, when the service starts
    except PermissionError:
        raise ConfigError(f"{directory}: may not be given to Postfix's group; run this as root") from None
