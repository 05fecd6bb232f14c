"""
A mail program of the outside world: neomutt with gpgme, for OpenPGP by gpg and for S/MIME by gpgsm, in a terminal
that tmux holds.

What its reader sees is the judge: the screen's text, without anything of the product's code.
"""

import re
import shutil
import subprocess
import time
from pathlib import Path

from lab.place import note
from lab.wait import until

_SETTINGS = """
set crypt_use_gpgme=yes crypt_verify_sig=yes
set mbox_type=Maildir folder="{folder}" spoolfile="{folder}/mail" header_cache="" record="" sort=mailbox-order
set pager_index_lines=0 quit=yes confirmappend=no mark_old=no help=no wait_key=no smart_wrap=no tilde=no markers=no
set status_format=" " pager_format="shown" tmpdir="{folder}"
ignore *
unignore from to subject
hdr_order from to subject
set display_filter={folder}/filter
"""
# Leaves out notations: Sequoia puts octets by chance into signatures
_FILTER = "#!/bin/sh\nexec env LC_ALL=C sed '/^[*][*][*] Begin Notation/,/^[*][*][*] End Notation/d'\n"
_WIDTH, _HEIGHT = 120, 50
_SHOWN = "shown"  # the pager's last line
_ALIKE = 4  # screens in a row, a tenth of a second apart
_CHANGING = (
    (re.compile(r"\b[0-9A-F]{16,64}\b"), "KEY"),
    (re.compile(r"\b[0-9A-F]{4}(?: {1,2}[0-9A-F]{4}){9}\b"), "KEY"),
    (re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b[^\n]*\d{4}[^\n]*"), "TIME"),
    (re.compile(r"CANARY-\w+-\d+-END"), "CANARY"),
)


class MailClient:
    """
    A reader whose keys lie in the GnuPG home `gnupg`; `folder` gets a short path, as tmux's socket lies in it.

    Each message is opened in a neomutt of its own.
    """

    def __init__(self, folder: Path, gnupg: Path) -> None:
        folder.mkdir()
        note("folder", folder)
        self._folder, self._gnupg = folder, gnupg
        (folder / "neomuttrc").write_text(_SETTINGS.format(folder=folder))
        (folder / "filter").write_text(_FILTER)
        (folder / "filter").chmod(0o755)

    def read(self, message: bytes) -> str:
        """Open a message as received; gives what the reader sees, normalised."""
        mail = self._folder / "mail"
        shutil.rmtree(mail, ignore_errors=True)
        for name in ("cur", "new", "tmp"):
            (mail / name).mkdir(parents=True)
        (mail / "cur" / "1:2,").write_bytes(message.replace(b"\r\n", b"\n"))
        environment = [f"GNUPGHOME={self._gnupg}", f"HOME={self._folder}", "LANG=C.UTF-8", "TZ=UTC"]
        program = [
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            *environment,
            "neomutt",
            "-n",
            "-F",
            str(self._folder / "neomuttrc"),
            "-R",
        ]
        size = ("-x", str(_WIDTH), "-y", str(_HEIGHT))
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, *program, "-e", "push <display-message>")
        try:
            until(self._is_shown, 60, lambda: f"neomutt shows the message; it shows:\n{self._screen()}")
            return normal(self._settled())
        finally:
            self._tmux("kill-server")

    def _is_shown(self) -> bool:
        return _SHOWN in self._screen().splitlines()

    def _settled(self) -> str:
        """Give the screen once nothing more is drawn: on a busy host the last line stands before the others."""
        seen = [self._screen()]
        while len(seen) < _ALIKE or len(set(seen[-_ALIKE:])) > 1:
            time.sleep(0.1)
            seen.append(self._screen())
        return seen[-1]

    def _screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-u", "-S", str(self._folder / "tmux"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def normal(screen: str) -> str:
    """Give a screen without what changes from run to run: fingerprints, times, canaries, the lines below."""
    text = "\n".join(line.rstrip() for line in screen.splitlines())
    for changing, name in _CHANGING:
        text = changing.sub(name, text)
    return text.partition(f"\n{_SHOWN}")[0].rstrip() + "\n"
