"""A log that is appended to, rotated and cut while it is followed: no line is lost, none is read twice."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import LogError
from gatepost.mta.postfix import log_file
from gatepost.mta.postfix.log_file import LogFile
from gatepost.mta.postfix.log_line import LONGEST


@dataclass
class Log:
    """A log with its writer, its reader, and a clock for the reader."""

    path: Path
    now: float = 0.0
    found: list[bytes] = field(default_factory=list)
    reader: LogFile | None = None

    def write(self, *lines: str, to: Path | None = None) -> None:
        with (to or self.path).open("ab") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def open(self, place: "dict[str, object] | None") -> None:
        self.reader = LogFile(self.path, place, clock=lambda: self.now)

    def read(self) -> list[bytes]:
        assert self.reader is not None
        new = self.reader.read()
        self.found += new
        return new

    def restart(self) -> None:
        """Let a new reader take over where the old one was."""
        assert self.reader is not None
        place = self.reader.place
        self.reader.close()
        self.open(place)

    def settle(self) -> None:
        """Read until nothing more comes, and time passes meanwhile."""
        for _ in range(2 + sum(1 for _ in self.path.parent.iterdir())):
            while self.read():
                pass
            self.now += 6


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Give a followed log of one old line."""
    log = Log(tmp_path / "mail.log")
    log.write("old")
    log.open(None)
    assert log.read() == []
    return log


@pytest.fixture
def missed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is told of missed lines."""
    told: list[str] = []

    class Logger:
        def warning(self, event: str, **_: object) -> None:
            told.append(event)

    monkeypatch.setattr(log_file, "logger", Logger())
    return told


def test_begins_at_the_end(log: Log) -> None:
    """Old lines are not read; new ones are, once."""
    log.write("one", "two")
    assert log.read() == [b"one", b"two"]
    assert log.read() == []


def test_a_line_counts_once_it_is_whole(log: Log) -> None:
    """Half a line is left for later."""
    with log.path.open("ab") as file:
        file.write(b"ha")
    assert log.read() == []
    log.write("lf")
    assert log.read() == [b"half"]


def test_renamed_and_made_anew(log: Log) -> None:
    """The writer goes on with the old file for a while; then the new one is read from its beginning."""
    log.write("one")
    log.read()
    log.now += 100  # quiet for long: the old file must not be given up at once all the same
    old = log.path.rename(log.path.with_name("mail.log.1"))
    log.write("three")
    assert log.read() == []
    log.write("two", to=old)
    assert log.read() == [b"two"]
    log.settle()
    assert log.found == [b"one", b"two", b"three"]


def test_copied_and_cut(log: Log) -> None:
    """A file that is shorter than what was read of it is read from its beginning."""
    log.write("one", "two")
    log.read()
    os.truncate(log.path, 0)
    log.write("three")
    log.settle()
    assert log.found == [b"one", b"two", b"three"]


def test_cut_and_grown_beyond(log: Log) -> None:
    """A file that begins otherwise is another, however long it is."""
    log.write("one")
    log.read()
    os.truncate(log.path, 0)
    lines = [f"new {number}" for number in range(10)]
    log.write(*lines)
    log.settle()
    assert log.found == [b"one", *(line.encode() for line in lines)]


class TestRestart:
    def test_goes_on(self, log: Log) -> None:
        """What came while nobody read is read."""
        log.write("one")
        log.read()
        log.restart()
        log.write("two")
        log.settle()
        assert log.found == [b"one", b"two"]

    def test_rotated_meanwhile(self, log: Log, missed: list[str]) -> None:
        """What is left of rotated files comes first, in their order."""
        log.write("one")
        log.read()
        log.write("two")
        for number, name in ((1, "mail.log.2"), (2, "mail.log.1")):
            log.path.rename(log.path.with_name(name))
            os.utime(log.path.with_name(name), (number, number))
            log.write(f"of {number}")
        log.restart()
        log.settle()
        assert log.found == [b"one", b"two", b"of 1", b"of 2"]
        assert missed == []

    def test_rotated_away(self, log: Log, missed: list[str]) -> None:
        """Where the file is gone one line says that some may be missing; the new file is read whole."""
        log.write("one")
        log.read()
        log.path.rename(log.path.with_name("mail.log.1.gz"))
        log.write("three")
        log.restart()
        log.settle()
        assert log.found == [b"one", b"three"]
        assert missed == ["lines of the mail server's log were missed"]


class TestFaults:
    def test_not_there_yet(self, tmp_path: Path) -> None:
        """A log that is made later is read from its beginning, and the error names it."""
        log = Log(tmp_path / "mail.log")
        log.open(None)
        with pytest.raises(LogError, match=r"mail\.log: No such file"):
            log.read()
        log.write("one")
        assert log.read() == [b"one"]

    def test_symbolic_link(self, log: Log, tmp_path: Path) -> None:
        """A link in its place is not followed; once the log is back its lines are read."""
        secret = tmp_path / "secret"
        secret.write_text("secret\n")
        log.write("one")
        log.path.rename(tmp_path / "mail.log.1")
        log.path.symlink_to(secret)
        with pytest.raises(LogError, match="symbolic links"):
            log.settle()
        log.path.unlink()
        log.write("two")
        log.settle()
        assert log.found == [b"one", b"two"]

    def test_no_regular_file(self, tmp_path: Path) -> None:
        """A pipe would make the reader wait for ever."""
        os.mkfifo(tmp_path / "mail.log")
        reader = LogFile(tmp_path / "mail.log", None)
        with pytest.raises(LogError, match="no regular file"):
            reader.read()

    def test_endless_line(self, log: Log) -> None:
        """What has no end is skipped; what comes after it is read."""
        with log.path.open("ab") as file:
            file.write(b"x" * (LONGEST + 1))
        assert log.read() == []
        with log.path.open("ab") as file:
            file.write(b"x" * 10)
        assert log.read() == []
        log.write("", "one")
        assert log.read() == [b"one"]


_STEPS = st.lists(
    st.sampled_from(["write", "read", "rename", "restart", "wait", "cut after reading"]), max_size=25
)


@given(_STEPS)
def test_whatever_happens(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """However writing, reading, rotation and restarts follow each other, each line is read once, in order."""
    log = Log(tmp_path_factory.mktemp("log") / "mail.log")
    log.write("old")
    log.open(None)
    log.read()
    written: list[bytes] = []
    rotations = 0

    def write() -> None:
        written.append(f"line {len(written)}".encode())
        log.write(written[-1].decode())

    def rename() -> None:
        nonlocal rotations
        rotations += 1
        name = log.path.with_name(f"mail.log-{rotations:04}")
        log.path.rename(name)
        os.utime(name, (rotations, rotations))
        log.write("begun")
        written.append(b"begun")

    def cut() -> None:
        log.settle()
        os.truncate(log.path, 0)
        log.write(f"cut {len(written)}")
        written.append(f"cut {len(written)}".encode())
        log.read()

    def wait() -> None:
        log.now += 6

    do: dict[str, Callable[[], object]] = {
        "write": write, "read": log.read, "rename": rename, "restart": log.restart, "wait": wait,
        "cut after reading": cut,
    }  # fmt: skip
    for step in steps:
        do[step]()
    log.settle()
    assert log.found == written
    assert log.reader is not None
    log.reader.close()
