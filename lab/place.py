"""
Places and ports for throw-away servers, and the promise that nothing of them is left behind.

Rules:
  * A folder lies under the system's temporary directory with a short path (UNIX sockets and gpg
    agents allow about 100 characters) and can be entered by other users (Postfix drops root).
  * A port is reserved between processes by an abstract UNIX socket that dies with its holder.
  * A reaper process outlives us, even a SIGKILL, and clears away what we started.
"""

import contextlib
import functools
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_FIRST_PORT, _LAST_PORT = 20_000, 32_000  # below the range from which the kernel picks client ports

# Reads "kind argument" lines; at the end of its input (we are gone) it undoes what is still noted.
_REAPER = r"""
set -u
notes=$(mktemp)
trap '' INT TERM HUP
while read -r line; do printf '%s\n' "$line" >>"$notes"; done
grep '^postfix ' "$notes" | while read -r _ dir; do
  [ -e "$dir/main.cf" ] && postfix -c "$dir" abort >/dev/null 2>&1
done
grep '^group ' "$notes" | while read -r _ pgid; do
  grep -qx "ended $pgid" "$notes" || kill -s KILL -- "-$pgid" 2>/dev/null
done
grep '^gpg ' "$notes" | while read -r _ dir; do
  [ -d "$dir" ] && gpgconf --homedir "$dir" --kill all >/dev/null 2>&1
done
grep '^folder ' "$notes" | while read -r _ dir; do rm -rf -- "$dir"; done
rm -f "$notes"
"""

_lock = threading.Lock()
_reservations: list[socket.socket] = []


@functools.cache
def _reaper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "-c", _REAPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def note(kind: str, argument: str | int | Path) -> None:
    """
    Tell the reaper what to clear away should we die.

    `kind` is `postfix` (a configuration directory), `group` (a process group to kill), `ended` (a
    process group that ended by itself), `gpg` (a GnuPG home) or `folder`.
    """
    with _lock:
        stdin = _reaper().stdin
        assert stdin is not None  # noqa: S101 - it was opened with a pipe
        stdin.write(f"{kind} {argument}\n".encode())
        stdin.flush()


@contextlib.contextmanager
def short_folder(prefix: str = "gp-") -> Iterator[Path]:
    """Give a fresh folder that every user may enter; it is removed at the end, or by the reaper."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    note("folder", folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Reserve a loopback TCP port for the life of this process."""
    with _lock:
        for _ in range(1000):
            port = random.randint(_FIRST_PORT, _LAST_PORT)  # noqa: S311 - no secret
            holder = socket.socket(socket.AF_UNIX)
            try:
                holder.bind(f"\0gatepost-lab-port-{port}")
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                holder.close()
                continue
            _reservations.append(holder)
            return port
    raise RuntimeError(f"no free TCP port between {_FIRST_PORT} and {_LAST_PORT}")
