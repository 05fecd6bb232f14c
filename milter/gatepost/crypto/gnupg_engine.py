"""
The OpenPGP engine that runs gpg (2.2 or later), through python-gnupg. The only module that imports gnupg.

Rules:
  * gpg sees a throw-away home of its own, no options file, and never --verbose: what a message says must not
    reach the channel on which gpg reports.
  * Output counts only with status `decryption ok` (or `encryption ok`) and exit status 0; anything else is
    dropped. gpg 2.2.8 and later fail hard without integrity protection.
  * Every run has a limit of time, memory and output.
  * A home for decryption holds one private key, so that gpg cannot use another one. All operations with private
    keys go through gpg: Sequoia's RSA leaks timing (RUSTSEC-2023-0071), and it cannot verify what is compressed.
"""

import os
import resource
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import gnupg

from gatepost.crypto import guard
from gatepost.crypto.guard import Component
from gatepost.crypto.openpgp import Certificate, Opened, Verification
from gatepost.errors import CryptoError, WorkerError

UNDECRYPTABLE = "the message cannot be decrypted with this key"

_PREFIX = "gp-"
_IN_MEMORY = "/dev/shm"  # noqa: S108 - mkdtemp makes a directory of our own in it
_SECONDS = 60.0  # for one run of gpg
_MEMORY = 1 << 30  # octets of address space
_MAX_OUTPUT = 128 << 20  # octets: bombs end here
_REMEMBERED = 1024  # certificates in one keyring, results kept
_HOMES = 32  # private keys that have a home at one time
_OPTIONS = ["--no-options", "--no-auto-check-trustdb", "--trust-model", "always", "--no-auto-key-retrieve"]
_UNLOCKED = ["--pinentry-mode", "loopback", "--passphrase", ""]
_ALGORITHMS = {"1": "RSA", "2": "RSA", "3": "RSA", "16": "ElGamal", "17": "DSA", "20": "ElGamal"}


class _TimedGpg(gnupg.GPG):  # type: ignore[misc]  # python-gnupg has no types
    """python-gnupg with limits on the process it starts."""

    def _open_subprocess(self, args: list[str], passphrase: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - theirs
        process = super()._open_subprocess(args, passphrase)
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS)))
        return process

    def _collect_output(self, process: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - theirs
        timer = threading.Timer(_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            return super()._collect_output(process, *args, **options)
        finally:
            timer.cancel()


class _Home:
    """
    One throw-away home of gpg, in memory where the system has a place for that: it may hold a private key.

    Its path is short, since the agent's socket lies in it, and names the process, so that what a killed process
    left behind can be told and removed.
    """

    def __init__(self, program: str = "gpg") -> None:
        self.program = program
        self.path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_root())  # mkdtemp: mode 0700
        self.close = weakref.finalize(self, _remove_home, self.path)
        self._fingerprints: dict[bytes, tuple[str, ...]] = {}
        self.lock = threading.Lock()
        try:
            self.gpg = self.new_gpg()
        except (OSError, ValueError) as error:
            self.close()
            raise WorkerError(f"gpg cannot be run: {error}") from error

    def new_gpg(self) -> Any:  # noqa: ANN401 - python-gnupg has no types
        """Give a fresh runner in this home."""
        return _TimedGpg(
            gpgbinary=self.program, gnupghome=self.path, options=_OPTIONS, env={**os.environ, "LC_ALL": "C"}
        )

    @property
    def held(self) -> int:
        """The number of imports so far."""
        return len(self._fingerprints)

    def import_keys(self, data: bytes) -> tuple[str, ...]:
        """Import once and name the keys; empty where gpg reads none."""
        digest = sha256(data).digest()
        with self.lock:
            known = self._fingerprints.get(digest)
            if known is None:
                known = self._import(data)
                self._fingerprints[digest] = known
        return known

    def _import(self, data: bytes) -> tuple[str, ...]:
        try:
            result = self.gpg.import_keys(data)
        except (BrokenPipeError, OSError):
            return ()
        return tuple(dict.fromkeys(fingerprint for fingerprint in result.fingerprints if fingerprint))

    def run(self, *arguments: str, data: bytes = b"", batch: bool = True) -> bytes:
        """Run gpg on this home; gives its output, empty where it failed."""
        mode = ["--batch"] if batch else []
        command = [self.program, "--homedir", self.path, *mode, "--no-tty", *_OPTIONS, *arguments]
        try:
            done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WorkerError(f"gpg cannot be run: {error}") from error
        return done.stdout if done.returncode == 0 else b""


def _root() -> str:
    return _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else tempfile.gettempdir()


def _remove_stale() -> None:
    """Remove the homes, agents included, of processes of this user that were killed."""
    for path in Path(_root()).glob(f"{_PREFIX}*-*"):
        with suppress(OSError, ValueError):
            process = int(path.name.removeprefix(_PREFIX).partition("-")[0])
            if path.stat().st_uid == os.geteuid() and not Path(f"/proc/{process}").exists():
                _remove_home(str(path))


def _remove_home(path: str) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            ["gpgconf", "--homedir", path, "--kill", "all"], check=False, timeout=10, capture_output=True
        )
    shutil.rmtree(path, ignore_errors=True)


class GnupgEncryptor:
    """Implements Encryptor. Thread-safe; `close` removes gpg's home."""

    def __init__(self, program: str = "gpg", clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._program = program
        self._clock = clock
        self._home = _Home(program)
        self._lock = threading.Lock()
        self._parsed = lru_cache(maxsize=_REMEMBERED)(self._parse)

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        """Read armored or binary certificates; raises CryptoError naming what is wrong and in which one."""
        now = self._clock()
        found = self._parsed(data)
        return tuple(replace(one, refusal=guard.refusal(keys[0], keys[1:], now)) for one, keys in found)

    def encrypt(self, plaintext: bytes, certificates: Sequence[bytes]) -> bytes:
        """Encrypt to every certificate; gives ASCII armor with LF line ends. Raises CryptoError."""
        home, recipients = self._recipients(certificates)
        return _encrypt(home.gpg, BytesIO(plaintext), recipients)

    def encrypt_file(self, source: Path, target: Path, certificates: Sequence[bytes]) -> None:
        """Encrypt one file into another, which exists, in bounded memory; as `encrypt` otherwise."""
        home, recipients = self._recipients(certificates)
        gpg = home.new_gpg()
        with source.open("rb") as plain, target.open("wb") as armored:

            def write(chunk: bytes) -> bool:
                armored.write(chunk)
                return False  # python-gnupg then keeps nothing

            gpg.on_data = write
            _encrypt(gpg, plain, recipients)

    def close(self) -> None:
        """Remove gpg's home and whatever runs in it."""
        self._home.close()

    def _recipients(self, certificates: Sequence[bytes]) -> tuple[_Home, list[str]]:
        if not certificates:
            raise CryptoError("no certificate to encrypt to")
        recipients = []
        for data in certificates:
            found = self.read(data)
            if len(found) != 1:
                raise CryptoError(f"one certificate is needed for each recipient, not {len(found)}")
            if found[0].refusal:
                raise CryptoError(f"key {found[0].fingerprint} must not be encrypted to: {found[0].refusal}")
            recipients.append(found[0].fingerprint)
        home = self._home_for(certificates)
        return home, recipients

    def _home_for(self, certificates: Sequence[bytes]) -> _Home:
        """Give a home that holds these certificates; a crowded one is left for a new one."""
        with self._lock:
            if self._home.held > _REMEMBERED:
                self._home = _Home(self._program)  # the old one is removed once nobody uses it
            home = self._home
        for data in certificates:
            home.import_keys(data)
        return home

    def _parse(self, data: bytes) -> tuple[tuple[Certificate, tuple[Component, ...]], ...]:
        guard.check_size(data, guard.MAX_KEYRING, "the key file")
        if not data.strip():
            raise CryptoError("no OpenPGP certificate found: the file is empty or holds something else")
        home = _Home(self._program)
        try:
            fingerprints = home.import_keys(data)
            if not fingerprints:
                raise CryptoError("no OpenPGP certificate can be read: gpg finds none in it")
            secret = _records(home.run("--with-colons", "--list-secret-keys"))
            if secret:
                name = next((record[9] for record in secret if record[0] == "fpr"), "")
                raise CryptoError(
                    f"key {name} comes with its private half, where only the public half is expected"
                )
            return tuple(_describe(home, fingerprint) for fingerprint in fingerprints)
        finally:
            home.close()


def _encrypt(gpg: Any, plain: Any, recipients: Sequence[str]) -> bytes:  # noqa: ANN401 - python-gnupg has no types
    options = ["--compress-algo", "none", "--no-encrypt-to"]
    try:
        result = gpg.encrypt_file(plain, recipients, always_trust=True, extra_args=options)
    except OSError as error:
        raise CryptoError(f"gpg stopped before it had read the message: {error.strerror}") from None
    if not result.ok or result.returncode != 0 or result.status != "encryption ok":
        raise CryptoError(f"gpg did not encrypt: {result.status or 'no reason given'}")
    if getattr(result, "on_data_failure", None) is not None:
        raise CryptoError("what gpg encrypted could not be written: is the disk full?")
    return bytes(result.data)


def _records(listing: bytes) -> list[list[str]]:
    """Take gpg's colon listing apart (doc/DETAILS in gpg's sources)."""
    lines = listing.decode("utf-8", "replace").splitlines()
    return [[*line.split(":"), *[""] * 12] for line in lines if ":" in line]


def _describe(home: _Home, fingerprint: str) -> tuple[Certificate, tuple[Component, ...]]:
    records = _records(home.run("--with-colons", "--fixed-list-mode", "--list-keys", fingerprint))
    keys = tuple(_components(records))
    data = home.run("--export", fingerprint)
    if not keys or not data:
        raise CryptoError(f"certificate {fingerprint} cannot be read")
    guard.check_size(data, guard.MAX_CERTIFICATE, f"certificate {fingerprint}")
    user_ids = tuple(_unescaped(record[9]) for record in records if record[0] == "uid" and record[1] != "r")
    addresses = (guard.address_in(user_id) for user_id in user_ids)
    certificate = Certificate(
        fingerprint=fingerprint.upper(),
        user_ids=user_ids,
        addresses=tuple(dict.fromkeys(address for address in addresses if address)),
        data=data,
        created=keys[0].created,
        expires=guard.usable_until(keys[0], keys[1:]),
        refusal="",
    )
    return certificate, keys


def _components(records: Sequence[Sequence[str]]) -> Iterator[Component]:
    for record, following in zip(records, (*records[1:], [""] * 12), strict=False):
        if record[0] in {"pub", "sub"}:
            yield Component(
                fingerprint=following[9] if following[0] == "fpr" else record[4],
                algorithm=_ALGORITHMS.get(record[3], "ECC"),
                bits=int(record[2] or 0),
                created=_moment(record[5]) or datetime.fromtimestamp(0, UTC),
                expires=_moment(record[6]),
                revoked=record[1] == "r",
                encrypts="e" in record[11],
            )


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() and int(text) else None


def _unescaped(text: str) -> str:
    return text.replace("\\x3a", ":")


class GnupgDecryptor:
    """Implements Decryptor. Thread-safe; `close` removes every home."""

    def __init__(self, program: str = "gpg") -> None:
        self._program = program
        _remove_stale()
        self._homes: OrderedDict[bytes, _Home] = OrderedDict()
        self._lock = threading.Lock()

    def decrypt(self, ciphertext: bytes, private: bytes, signers: Sequence[bytes]) -> Opened:
        """
        Decrypt with one transferable private key and verify against the signers' certificates.

        Raises CryptoError, always the same text, for anything that does not decrypt whole and with integrity.
        """
        home = self._home(private)
        known = {fingerprint for data in signers for fingerprint in home.import_keys(data)}
        result = _decrypt(home, ciphertext)
        if _is_whole(result):
            return Opened(bytes(result.data), _verification(result, known))
        if result is None or not _is_signed(result):
            raise CryptoError(UNDECRYPTABLE)
        # gpg fails for a bad or unknown signature too; whether the message itself is whole, a second run tells
        result = _decrypt(home, ciphertext, "--skip-verify")
        if not _is_whole(result):
            raise CryptoError(UNDECRYPTABLE)
        return Opened(bytes(result.data), Verification("fail"))

    def close(self) -> None:
        """Remove every home and the agents that hold the keys."""
        with self._lock:
            for home in self._homes.values():
                home.close()
            self._homes.clear()

    def _home(self, private: bytes) -> _Home:
        digest = sha256(private).digest()
        with self._lock:
            home = self._homes.pop(digest, None)
            if home is None or home.held > _REMEMBERED:
                home = _Home(self._program)
                if not home.import_keys(private):
                    home.close()
                    raise CryptoError(UNDECRYPTABLE)
            self._homes[digest] = home
            if len(self._homes) > _HOMES:
                self._homes.popitem(last=False)
        return home


def _decrypt(home: _Home, ciphertext: bytes, *more: str) -> Any:  # noqa: ANN401 - python-gnupg has no types
    options = ["--max-output", str(_MAX_OUTPUT), *more]
    try:
        return home.gpg.decrypt(ciphertext, always_trust=True, extra_args=options)
    except OSError:
        return None


def _is_whole(result: Any) -> bool:  # noqa: ANN401 - python-gnupg has no types
    return bool(result is not None and result.ok and result.returncode == 0 and result.status == "decryption ok")


def _is_signed(result: Any) -> bool:  # noqa: ANN401 - python-gnupg has no types
    return bool(result.ok and (result.sig_info or result.problems or result.key_status))


def _verification(result: Any, known: set[str]) -> Verification:  # noqa: ANN401 - python-gnupg has no types
    """Judge the signatures: "pass" only if every one is good and made by a known signer."""
    if not result.sig_info and not result.problems:
        return Verification("none")
    signers = {str(info.get("pubkey_fingerprint") or "") for info in result.sig_info.values()}
    if result.problems or not result.valid or not signers or not signers <= known:
        return Verification("fail")
    return Verification("pass", min(signers).upper())


class GnupgKeys:
    """Makes private keys and takes them from files."""

    def __init__(self, program: str = "gpg") -> None:
        self._program = program

    def generate(self, user_id: str, days: int) -> tuple[bytes, bytes]:
        """Make a key for signing and encryption (Ed25519, Cv25519); gives its public and its private half."""
        home = _Home(self._program)
        try:
            home.run(*_UNLOCKED, "--quick-gen-key", user_id, "future-default", "default", f"{days}d")
            return _halves(home)
        finally:
            home.close()

    def read_private(self, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        """
        Read one private key, taking its passphrase off; gives its public and its private half.

        Raises CryptoError where the data is none, several, or does not open with the passphrase.
        """
        guard.check_size(data, guard.MAX_CERTIFICATE, "the private key")
        home = _Home(self._program)
        try:
            return self._read_private(home, data, passphrase)
        finally:
            home.close()

    def _read_private(self, home: _Home, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        home.run(*_UNLOCKED, "--import", data=data)
        secret = [
            record for record in _records(home.run("--with-colons", "--list-secret-keys")) if record[0] == "sec"
        ]
        if len(secret) != 1:
            raise CryptoError(f"one private OpenPGP key is needed in a file, not {len(secret)}")
        if _is_locked(home):
            if not passphrase:
                raise CryptoError("the private key is protected by a passphrase; give it with --passphrase-file")
            # gpg asks for the old passphrase, and then for the new one, which is empty, as often as it likes
            answers = passphrase.encode() + b"\n" * 16
            home.run(
                "--pinentry-mode",
                "loopback",
                "--command-fd",
                "0",
                "--change-passphrase",
                secret[0][4],
                data=answers,
                batch=False,
            )
            if _is_locked(home):
                raise CryptoError("the passphrase does not open the private key")
        return _halves(home)


def _halves(home: _Home) -> tuple[bytes, bytes]:
    public, private = home.run("--export"), home.run(*_UNLOCKED, "--export-secret-keys")
    if not public or not private:
        raise CryptoError("gpg did not give the key out")
    return public, private


def _is_locked(home: _Home) -> bool:
    """Tell whether the agent holds a key under a passphrase (`C` in KEYINFO: it is in clear)."""
    command = ["gpg-connect-agent", "--homedir", home.path, "keyinfo --list", "/bye"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)
    lines = [line.split() for line in done.stdout.decode("ascii", "replace").splitlines()]
    return any(line[7] == "P" for line in lines if line[:2] == ["S", "KEYINFO"])
