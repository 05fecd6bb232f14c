"""
Where the demo lives: a folder that starts empty, and nothing of an earlier run alive in it.

UNIX sockets allow about 100 characters, and Postfix's users must be able to enter. Where the checkout's path is
too long or closed to others, the folder lies under the system's temporary directory, and a link leads to it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from lab.wait import until

_LONGEST = 60  # leaves room for the sockets' names
_PATIENCE = 45.0


def prepare(folder: Path) -> Path:
    """Stop what still runs of an earlier demo, empty the folder and give the path to use."""
    stop_earlier(folder)
    if folder.is_symlink():
        shutil.rmtree(folder.resolve(), ignore_errors=True)
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if len(str(folder)) <= _LONGEST and _all_may_enter(folder.parent):
        folder.mkdir(mode=0o755)
        return folder
    real = Path(tempfile.mkdtemp(prefix="gatepost-demo-"))
    real.chmod(0o755)
    folder.symlink_to(real)
    return real


def stop_earlier(folder: Path) -> None:
    """End an earlier demo in this folder: as it ends itself, or by force what a crash left."""
    real = folder.resolve()
    pid = _noted(real / "pid")
    if pid is not None and pid != os.getpid() and b"lab.demo" in _command(pid):
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            until(lambda: not _alive(pid), _PATIENCE, "the earlier demo ends")
    if (real / "p" / "etc" / "main.cf").exists() and (real / "p" / "spool" / "pid" / "master.pid").exists():
        subprocess.run(["postfix", "-c", real / "p" / "etc", "abort"], capture_output=True, check=False)
    if (real / "gpg").is_dir():
        subprocess.run(["gpgconf", "--homedir", real / "gpg", "--kill", "all"], capture_output=True, check=False)
    mine = str(real / "gatepost" / "gatepost.toml").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and mine in _command(int(entry.name)).split(b"\0"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def _all_may_enter(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _noted(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _alive(pid: int) -> bool:
    return _command(pid) != b""
