"""
GnuPG's S/MIME of the outside world: gpgsm as the counterpart of what Gatepost writes and reads.

Debian 12's gpgsm (2.2) opens RSA with PKCS #1 v1.5 and content in CBC; it can neither OAEP, nor GCM, nor elliptic
curves.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.place import note
from lab.smime import Smime

_TRIES = 8  # gpgsm 2.2 takes a wrong charset for right now and then; another salt, another chance
_SETTINGS = "disable-crl-checks\ndisable-dirmngr\ninclude-certs 1\n"


@dataclass(frozen=True, slots=True)
class Verified:
    """What gpgsm said of a signature: the signed octets, and the fingerprints (SHA-1) of good signatures' keys."""

    data: bytes
    signers: tuple[str, ...]


class Gpgsm:
    """
    One GnuPG home, which may be that of lab.gpg.Gpg; with a short path, as the agent's socket lies in it.

    Keys and certificates come from lab.smime, self-signed, and are trusted.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        note("gpg", folder)
        self.folder = folder
        (folder / "gpgsm.conf").write_text(_SETTINGS)

    def take(self, smime: Smime, address: str) -> None:
        """Take a correspondent's key and certificate, and trust it."""
        for left in reversed(range(_TRIES)):
            try:
                self._import(smime.pkcs12(address))
                break
            except RuntimeError:
                if not left:
                    raise
        self._trust(address)

    def _import(self, pkcs12: bytes) -> None:
        file = self.folder / "incoming.p12"
        file.write_bytes(pkcs12)
        # the passphrase is read from the standard input: there is none, and so the agent will ask for none
        self._run("--pinentry-mode", "loopback", "--passphrase-fd", "0", "--import", str(file), data=b"\n")
        file.unlink()

    def know(self, smime: Smime, address: str) -> None:
        """Take a correspondent's certificate alone, and trust it."""
        self._run("--import", data=(smime.folder / f"{address}.pem").read_bytes())
        self._trust(address)

    def _trust(self, address: str) -> None:
        listing = self._run("--with-colons", "--list-keys", f"<{address}>").stdout.decode()
        prints = re.findall(r"^fpr:+([0-9A-F]{40}):", listing, re.MULTILINE)
        with (self.folder / "trustlist.txt").open("a") as file:
            file.writelines(f"{one} S relax\n" for one in prints)
        subprocess.run(
            ["gpgconf", "--homedir", str(self.folder), "--reload", "gpg-agent"], check=True, capture_output=True
        )

    def encrypt(self, data: bytes, addresses: Sequence[str], *options: str) -> bytes:
        """Encrypt to certificates; gives CMS in BER."""
        recipients = [word for address in addresses for word in ("--recipient", f"<{address}>")]
        return self._run("--encrypt", *options, *recipients, data=data).stdout

    def decrypt(self, data: bytes) -> bytes:
        """Decrypt CMS; raises RuntimeError unless gpgsm calls it decrypted."""
        return self._judged("--decrypt", data=data, needed="DECRYPTION_OKAY").data

    def sign(self, data: bytes, address: str, *options: str) -> bytes:
        """Sign, with the content inside, or detached with the option `--detach-sign`; gives CMS in BER."""
        how = options or ("--sign",)
        return self._run(*how, "--local-user", f"<{address}>", data=data).stdout

    def verify(self, signature: bytes, content: bytes | None = None) -> Verified:
        """Verify signed CMS, with its content inside or given beside it; raises RuntimeError if it is not good."""
        (self.folder / "signature").write_bytes(signature)
        files = [str(self.folder / "signature")]
        if content is not None:
            (self.folder / "content").write_bytes(content)
            files.append(str(self.folder / "content"))
        inside = () if content is not None else ("--output", "-")
        found = self._judged(*inside, "--verify", *files, needed="GOODSIG")
        return found if content is None else Verified(content, found.signers)

    def _judged(self, *words: str, needed: str, data: bytes = b"") -> Verified:
        # A status file of our own: content on stdout could never pose as a status line.
        status = self.folder / "sm-status"
        with status.open("wb") as file:
            done = self._run("--status-fd", str(file.fileno()), *words, data=data, check=False, keep=file.fileno())
        said = status.read_text()
        if f"[GNUPG:] {needed}" not in said or done.returncode:
            raise RuntimeError(f"gpgsm {' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return Verified(done.stdout, tuple(re.findall(r"^\[GNUPG:\] VALIDSIG (\S+)", said, re.MULTILINE)))

    def _run(
        self, *arguments: str, data: bytes = b"", check: bool = True, keep: int = -1
    ) -> subprocess.CompletedProcess[bytes]:
        command = ["gpgsm", "--homedir", str(self.folder), "--batch", "--yes", "--no-tty", *arguments]
        kept = (keep,) if keep >= 0 else ()
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=120, pass_fds=kept)
        if check and done.returncode:
            raise RuntimeError(f"gpgsm {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done

    def close(self) -> None:
        """Stop this home's agent."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self.folder), "--kill", "all"], check=False, capture_output=True
        )
