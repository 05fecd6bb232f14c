"""
A GnuPG home of the outside world: correspondents' keys, and the gpg command line as the judge of what arrived.

Nothing here uses the product's code, so what it decrypts is proof.
"""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.place import note


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What gpg made of a ciphertext: the plain bytes, the good signatures' keys, and the key that opened it."""

    data: bytes
    signers: tuple[str, ...]
    key: str


class Gpg:
    """
    One GnuPG home. `folder` must have a short path: the agent's socket lies in it.

    Keys are made once per address and without a passphrase.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        note("gpg", folder)
        self.folder = folder
        self._keys: dict[str, str] = {}

    def run(self, *arguments: str, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run gpg in this home; raise RuntimeError with its complaint if it fails."""
        command = ["gpg", "--homedir", str(self.folder), "--batch", "--yes", "--no-tty", "--trust-model", "always"]
        done = subprocess.run([*command, *arguments], input=data, capture_output=True, check=False, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"gpg {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done

    def key(self, user_id: str, algorithm: str = "future-default") -> str:
        """Give the fingerprint of this user ID's key (`Ann <ann@b.test>` or an address), made at first use."""
        if user_id not in self._keys:
            arguments = ("--passphrase", "", "--quick-generate-key", user_id, algorithm, "default", "never")
            status = self.run("--status-fd", "1", *arguments).stdout.decode()
            created = re.search(r"KEY_CREATED \S (\S+)", status)
            if created is None:
                raise RuntimeError(f"gpg made no key for {user_id}: {status}")
            if algorithm.startswith("rsa"):  # gpg adds a subkey to encrypt to for its default algorithms only
                self.run("--passphrase", "", "--quick-add-key", created[1], algorithm, "encr", "never")
            self._keys[user_id] = created[1]
        return self._keys[user_id]

    def export(self, *user_ids: str) -> bytes:
        """Give the public keys, armoured."""
        return self.run("--armor", "--export", *[self.key(user_id) for user_id in user_ids]).stdout

    def export_to(self, file: Path, *user_ids: str) -> Path:
        """Write the public keys into a file and give its path."""
        file.write_bytes(self.export(*user_ids))
        return file

    def import_key(self, armoured: bytes) -> None:
        """Add public or secret keys."""
        self.run("--import", data=armoured)

    def fingerprint(self, wanted: str) -> str:
        """Give the fingerprint of the first key that matches an address."""
        listing = self.run("--with-colons", "--list-keys", wanted).stdout.decode()
        return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def signature(self, data: bytes, signer: str) -> bytes:
        """Sign data that stands beside the signature, armoured, by an address's key."""
        return self.run("--local-user", signer, "--armor", "--detach-sign", data=data).stdout

    def encrypt(self, data: bytes, recipients: Sequence[str], *, signer: str | None = None) -> bytes:
        """Encrypt to fingerprints or addresses, armoured; signed by `signer`'s key if given."""
        arguments = [part for recipient in recipients for part in ("--recipient", recipient)]
        if signer is not None:
            arguments += ["--sign", "--local-user", signer]
        return self.run("--armor", "--encrypt", *arguments, data=data).stdout

    def decrypt(self, data: bytes) -> Decrypted:
        """
        Decrypt an armoured message, which may stand inside a mail.

        Raises RuntimeError if gpg does not call it decrypted.
        """
        # A status file of our own: content on stdout could never pose as a status line.
        status_file = self.folder / "status"
        output = self.run("--status-file", str(status_file), "--decrypt", data=data, check=False)
        status = status_file.read_text(errors="replace")
        if "[GNUPG:] DECRYPTION_OKAY" not in status:
            raise RuntimeError(f"gpg could not decrypt: {output.stderr.decode(errors='replace').strip()}")
        signers = tuple(re.findall(r"^\[GNUPG:\] VALIDSIG (\S+)", status, re.MULTILINE))
        opened = re.search(r"^\[GNUPG:\] DECRYPTION_KEY \S+ (\S+)", status, re.MULTILINE)
        return Decrypted(output.stdout, signers, opened[1] if opened else "")

    def verify(self, data: bytes, signature: bytes) -> tuple[str, ...]:
        """Verify a detached signature; gives the keys that made it, none where it is not good."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            file, beside, status_file = (Path(name, one) for one in ("data", "signature", "status"))
            file.write_bytes(data)
            beside.write_bytes(signature)
            words = ("--status-file", str(status_file), "--verify", str(beside), str(file))
            done = self.run(*words, check=False)
            status = status_file.read_text(errors="replace")
        found = tuple(re.findall(r"^\[GNUPG:\] VALIDSIG (\S+)", status, re.MULTILINE))
        return found if done.returncode == 0 and "[GNUPG:] GOODSIG" in status else ()

    def digest_of(self, signature: bytes) -> bytes:
        """Name the digest of a signature as gpg does, in lower case."""
        listing = self.run("--list-packets", data=signature).stdout
        number = re.search(rb"digest algo (\d+)", listing)
        return {b"8": b"sha256", b"9": b"sha384", b"10": b"sha512"}[number[1]] if number else b""

    def decrypt_all(self, messages: Sequence[bytes]) -> list[bytes]:
        """Decrypt many in one run; raises RuntimeError unless gpg calls every one of them decrypted."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            files = [folder / f"{number}.asc" for number in range(len(messages))]
            for file, message in zip(files, messages, strict=True):
                file.write_bytes(message)
            status_file = folder / "status"
            output = self.run("--status-file", str(status_file), "--decrypt-files", *map(str, files), check=False)
            done = status_file.read_text().count("[GNUPG:] DECRYPTION_OKAY") if files else 0
            if done != len(files):
                raise RuntimeError(
                    f"gpg decrypted {done} of {len(files)}: {output.stderr.decode(errors='replace')}"
                )
            return [file.with_suffix("").read_bytes() for file in files]

    def recipients(self, data: bytes) -> int:
        """Count the keys that an armoured message is encrypted to."""
        listing = self.run("--list-packets", "--list-only", data=data, check=False).stdout.decode(errors="replace")
        return listing.count(":pubkey enc packet:")

    def close(self) -> None:
        """Stop this home's agent."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self.folder), "--kill", "all"], check=False, capture_output=True
        )
