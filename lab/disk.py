"""
A disk that fails on command, for every process that is started with its environment (see disk.c).

It needs no mount and binds root, too: what fails is the call into the C library, for files below one folder.
"""

import errno
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("disk.c")
_CONTROL = struct.Struct("ii1000s")


class Disk:
    """The folder takes the compiled library and the file by which it is told what fails."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "disk.so"
        self._control = folder / "disk.control"
        self._control.write_bytes(bytes(_CONTROL.size))
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must find in its environment."""
        return {"LD_PRELOAD": str(self._library), "LAB_DISK": str(self._control)}

    def fill(self, path: Path) -> None:
        """Let there be no room left below a path: what is there can be read."""
        self._tell(errno.ENOSPC, 0, path)

    def make_read_only(self, path: Path) -> None:
        """Refuse every writing below a path."""
        self._tell(errno.EROFS, 0, path)

    def take_away(self, path: Path) -> None:
        """Let every use of what lies below a path fail, as of a disk that does not answer."""
        self._tell(errno.EIO, 1, path)

    def mend(self) -> None:
        """Let everything work again."""
        self._tell(0, 0, Path())

    def _tell(self, error: int, reading: int, path: Path) -> None:
        # The errno comes last: what is mapped is read while it is written.
        with self._control.open("r+b", buffering=0) as file:
            file.write(struct.pack("i", 0))
            file.seek(0)
            file.write(_CONTROL.pack(0, reading, str(path).encode()))
            file.seek(0)
            file.write(struct.pack("i", error))
