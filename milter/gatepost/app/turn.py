"""
A turn: one process of this host at a time does what must not be done twice at once.

The directory itself is locked, so nothing is left behind; the lock ends with the process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gatepost.errors import ConfigError


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait until no other process of this host has its turn in `directory`; raises ConfigError."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(
            f"{directory}: {error.strerror}: make the directory, or run this as a user who may enter it"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
