"""
The site's secrets: files of a directory, or systemd credentials of the same names.

  keys, vault          private halves: raw X25519, 32 octets (RFC 7748), or of a rotated secret text (see
                       `crypto.halves`); the key worker alone reads them
  keys.pub, vault.pub  their public halves, raw; no secrets
  client.pem           Gatepost's key and certificate towards the re-injection listeners
  listener.pem         the listeners' key and certificate, for Postfix
  database             the password of a PostgreSQL database, if it has one; one line of text
  pkcs11-pin           the PIN of the tokens that hold keys of ours, if any do; one line of text

A credential in $CREDENTIALS_DIRECTORY wins over the file in the directory. A secret file that its group or others
may touch is refused, as is one that is missing: a fault of the site is told before the first message.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gatepost.errors import ConfigError, CryptoError

if TYPE_CHECKING:
    from gatepost.crypto.halves import Halves

PAIRS = ("keys", "vault")
CLIENT = "client.pem"
LISTENER = "listener.pem"
DATABASE = "database"
PIN = "pkcs11-pin"
FILES = (*PAIRS, *(f"{name}.pub" for name in PAIRS), CLIENT, LISTENER)
KEY_SIZE = 32
DRAFT = ".new"  # what a file ends in while it is written anew
_SHARED = 0o077  # any right of group or others


class Secret:
    """A secret's octets; what is printed or logged of it is only `<secret>`."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def reveal(self) -> bytes:
        """Give the octets, for the one call that needs them."""
        return self._octets

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def locate(name: str, directory: Path) -> Path:
    """Give the file that holds a secret, checked for its permissions; raises ConfigError."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / name).is_file():
        return Path(credentials) / name  # systemd has seen to its permissions
    return _of_directory(name, directory)


def _of_directory(name: str, directory: Path) -> Path:
    path = directory / name
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(_unreadable(path, error)) from None
    if mode & _SHARED and not name.endswith(".pub"):
        raise ConfigError(f"{path}: others than its owner may use this secret; run: chmod 600 {path}")
    return path


def read(name: str, directory: Path) -> Secret:
    """Read the private half of a pair; raises ConfigError."""
    return Secret(read_halves(name, directory).current)


def read_halves(name: str, directory: Path, *, here: bool = False) -> "Halves":
    """
    Read the private halves of a pair, current and former; raises ConfigError.

    `here` means the directory's own file, whatever systemd has handed over: the one that can be replaced.
    """
    from gatepost.crypto import halves  # noqa: PLC0415 - only who opens what is sealed needs it

    path = _of_directory(name, directory) if here else locate(name, directory)
    octets = _read(path)
    try:
        return halves.read(octets)
    except CryptoError as error:
        raise ConfigError(f"{path}: {error}; restore it from a backup") from None


def read_password(directory: Path) -> str:
    """Read the database's password; empty if the site has none. Raises ConfigError."""
    places = {directory, Path(os.environ.get("CREDENTIALS_DIRECTORY") or directory)}
    if not any((place / DATABASE).exists() for place in places):
        return ""
    return _line(DATABASE, "password", directory)


def read_pin(directory: Path) -> str:
    """Read the PIN of the tokens' user; raises ConfigError."""
    return _line(PIN, "PIN", directory)


def read_public(name: str, directory: Path) -> bytes:
    """Read the public half of a pair, by the pair's name; raises ConfigError."""
    path = locate(f"{name}.pub", directory)
    octets = _read(path)
    if len(octets) != KEY_SIZE:
        raise ConfigError(f"{path}: holds {len(octets)} octets instead of {KEY_SIZE}; restore it from a backup")
    return octets


def make(directory: Path, hostname: str) -> None:
    """Make all secrets of a new site; raises ConfigError naming a file that is there already."""
    from gatepost.crypto import seal, selfsigned  # noqa: PLC0415 - only `init` needs them

    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in PAIRS:
        private, public = seal.new_pair()
        write_new(directory / name, private, 0o600)
        write_new(directory / f"{name}.pub", public, 0o644)
    write_new(directory / CLIENT, selfsigned.client(hostname), 0o600)
    write_new(directory / LISTENER, selfsigned.server(hostname), 0o600)


def write_new(path: Path, octets: bytes, mode: int) -> None:
    """Write a file that is not there yet, durable before this returns; raises ConfigError if it is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already; nothing is overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, octets: bytes) -> None:
    """Write a file anew in the place of the one that is there, at once and durably; owner and mode stay."""
    draft = path.with_name(f"{path.name}{DRAFT}")
    try:
        found = path.stat()
        with suppress(FileNotFoundError):
            draft.unlink()  # of a try that was cut off
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fchmod(file.fileno(), found.st_mode & 0o777)
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written anew: {error.strerror}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(_unreadable(path, error)) from None


def _line(name: str, what: str, directory: Path) -> str:
    path = locate(name, directory)
    line = _read(path).decode("utf-8", "replace").removesuffix("\n")
    if not line or not line.isprintable() or "\ufffd" in line:
        raise ConfigError(f"{path}: holds no {what}; write it there in UTF-8, on one line")
    return line


def _unreadable(path: Path, error: OSError) -> str:
    remedy = "restore it from a backup, or make a site by `gatepost init`"
    if isinstance(error, PermissionError):
        remedy = "run as the service's user, or hand it over as a systemd credential"
    return f"{path}: this secret cannot be read ({error.strerror}); {remedy}"
