"""
Postfix's log as a file that is appended to, rotated by others, and read to the end again and again.

Rules:
  * A place in the log is the file's inode, the octets that were read of it, and a digest of its beginning. A file
    is the one that was read before only if all three agree.
  * Renamed and made anew: the old file is read until nothing has come for some seconds, since its writer may not
    know yet; then the new one from its beginning. Copied and cut: the file is shorter than what was read of it, or
    begins otherwise, and is read from its beginning.
  * Files that were rotated in between are read in their order, after a restart too. Where none of them is the one
    that was read, lines may be missing, and one line in our own log says so.
  * Only a regular file is read: a symbolic link could lead anywhere.
  * A line counts once its end is there. What is too long for a line is skipped.
"""

import hashlib
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gatepost.errors import LogError
from gatepost.log import logger
from gatepost.mta.postfix.log_line import LONGEST

_AT_ONCE = 1 << 20  # octets of one reading
_HEAD = 256  # octets by which a file is known again
_QUIET_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a file was read; `head` is the digest of its first `length` octets."""

    inode: int = 0
    offset: int = 0
    length: int = 0
    head: str = ""


class LogFile:
    """Follows one file. For one thread alone."""

    def __init__(
        self, path: Path, place: Mapping[str, object] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take where reading went on earlier; None: begin at the end of what is there."""
        self._path = path
        self._clock = clock
        self._descriptor = -1
        self._place = _Place()
        self._skipping = False  # inside of what is too long for a line
        self._since = clock()  # nothing has come, or the file was found to be over
        self._over = False
        self._wanted = None if place is None else _place_of(place)
        self._new = place is None

    def read(self) -> list[bytes]:
        """Give the lines that have come, at most so many; raises LogError."""
        try:
            if self._descriptor < 0:
                self._open_first()
            lines = self._lines()
            if not lines and self._moved_on():
                lines = self._lines()
        except OSError as error:
            self._close()
            if isinstance(error, FileNotFoundError):
                self._new = False  # what is made now is read from its beginning
            raise LogError(f"{self._path}: {error.strerror or error}") from error
        return lines

    @property
    def place(self) -> dict[str, object] | None:
        """How far was read, as plain data; None where the file could not be opened yet."""
        if self._new:
            return None
        return asdict(self._place if self._wanted is None else self._wanted)

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._wanted = self._place
            self._descriptor = -1

    def _open_first(self) -> None:
        """Open the file, or the rotated one in which reading had come to an end."""
        current = _open(self._path)
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            self._begin(current, os.fstat(current).st_size if self._new else 0)
        elif _is(current, wanted):
            self._begin(current, wanted.offset)
        elif not wanted.inode:
            self._begin(current, 0)
        else:
            os.close(current)
            self._open_rotated(wanted)
        self._new = False

    def _open_rotated(self, wanted: _Place) -> None:
        """Go on in what became of the file; files that came after it are read next."""
        for path in _rotated(self._path):
            with suppress(OSError):
                descriptor = _open(path)
                if _is(descriptor, wanted, copied=True):
                    self._begin(descriptor, wanted.offset)
                    return
                os.close(descriptor)
        logger.warning("lines of the mail server's log were missed", cause=f"{self._path} was rotated or cut")
        self._begin(_open(self._path), 0)

    def _begin(self, descriptor: int, offset: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._skipping = self._over = False
        self._note(offset)

    def _note(self, offset: int) -> None:
        inode = os.fstat(self._descriptor).st_ino
        length = min(offset, _HEAD)
        if inode == self._place.inode and length == self._place.length and offset >= self._place.offset:
            self._place = _Place(inode, offset, length, self._place.head)
        else:
            self._place = _Place(inode, offset, length, _digest(self._descriptor, length))

    def _lines(self) -> list[bytes]:
        """Read whole lines; the rest of the last one is read again next time."""
        if not _is(self._descriptor, self._place):
            self._note(0)  # cut
        octets = os.pread(self._descriptor, _AT_ONCE, self._place.offset)
        end = octets.rfind(b"\n") + 1
        if not end and len(octets) > LONGEST:
            self._skipping, end = True, len(octets)
        if not end:
            return []
        lines = octets[:end].split(b"\n")
        rest = lines.pop()
        if rest:  # no line end in sight
            lines = []
        elif self._skipping:
            self._skipping = False
            del lines[0]
        self._since = self._clock()
        self._note(self._place.offset + end)
        return lines

    def _moved_on(self) -> bool:
        """Turn to the next file, if this one is over."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return False  # it is being rotated
        if found.st_ino == self._place.inode:
            return False
        if not self._over:
            self._over, self._since = True, self._clock()
        if self._clock() - self._since < _QUIET_SECONDS:
            return False
        self._begin(_open(self._next()), 0)
        return True

    def _next(self) -> Path:
        """Give the file that came after the one that is over, under the name that it has now."""
        files = list(_rotated(self._path))
        for path, following in itertools.pairwise(files):
            with suppress(OSError):
                if path.lstat().st_ino == self._place.inode:
                    return following
        return self._path


def _place_of(values: Mapping[str, object]) -> _Place:
    match values:
        case {"inode": int(inode), "offset": int(offset), "length": int(length), "head": str(head)}:
            return _Place(inode, offset, length, head)
    return _Place()


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LogError(f"{path}: is no regular file")
    return descriptor


def _is(descriptor: int, place: _Place, *, copied: bool = False) -> bool:
    """Tell whether a file is the one of a place, or a copy of it, as far as it was read."""
    found = os.fstat(descriptor)
    same = found.st_ino == place.inode or (copied and place.length == _HEAD)
    return same and found.st_size >= place.offset and _digest(descriptor, place.length) == place.head


def _digest(descriptor: int, length: int) -> str:
    return hashlib.sha256(os.pread(descriptor, length, 0)).hexdigest()


def _rotated(path: Path) -> Iterator[Path]:
    """Give the files that rotation has made of it, oldest first, and at last the file itself."""
    beside = []
    for other in path.parent.glob(f"{path.name}?*"):
        with suppress(OSError):
            if other.suffix not in {".gz", ".xz", ".bz2", ".zst"}:
                beside.append((other.stat().st_mtime_ns, other))
    yield from (other for _, other in sorted(beside))
    yield path
