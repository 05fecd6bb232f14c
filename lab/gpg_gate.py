"""
A gate before gpg: the site's gpg program asks the lab before each encryption, and waits for the answer.

Left shut, gpg hangs as long as its caller has patience; let down, it fails as if it had died.
"""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_PROGRAM = """\
#!/bin/bash
for word in "$@"; do
  if [ "$word" = --encrypt ]; then
    exec 3<>/dev/tcp/127.0.0.1/{port} && read -r answer <&3 && [ "$answer" = go ] || exit 2
    exec 3>&-
  fi
done
exec gpg "$@"
"""


class GpgGate:
    """`program` is what the site must use as gpg. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._lock = threading.Lock()
        self._shut = False
        self._waiting: list[socket.socket] = []
        self.program = folder / "gpg-gate"
        self.program.write_text(_PROGRAM.format(port=self._listener.getsockname()[1]))
        self.program.chmod(0o755)

    @property
    def waiting(self) -> int:
        """How many runs of gpg stand at the gate."""
        with self._lock:
            return len(self._waiting)

    def shut(self) -> None:
        """Let every encryption that begins from now on wait."""
        with self._lock:
            self._shut = True

    def open(self) -> None:
        """Let all go on."""
        self._answer(b"go\n")

    def let_down(self) -> None:
        """Let those who wait fail, and later ones go on."""
        self._answer(b"fail\n")

    def _answer(self, word: bytes) -> None:
        with self._lock:
            waiting, self._waiting, self._shut = self._waiting, [], False
        for one in waiting:
            _say(one, word)

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._shut:
                    self._waiting.append(one)
                    continue
            _say(one, b"go\n")

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _say(one: socket.socket, word: bytes) -> None:
    with contextlib.suppress(OSError), one:
        one.sendall(word)
