"""
A backup of what no database holds: secrets, settings and rules, in one file that gpg and tar restore.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from gatepost import secrets
from gatepost.crypto import passphrase as under_passphrase
from gatepost.settings import Settings


def write_backup(settings: Settings, config: Path, file: Path, passphrase: str) -> tuple[str, ...]:
    """
    Write a new file, for its owner alone, and give the names in it.

    It is a tar under a passphrase: `gpg -d FILE | tar x -C DIR` makes `gatepost.toml`, `rules/` and `secrets/` in
    DIR.
    Raises ConfigError where a secret cannot be read or the file is there already, WorkerError.
    """
    for pair in secrets.PAIRS:  # a backup without them would be none
        secrets.read_halves(pair, settings.secrets.directory, here=True)
    found = dict(_files(settings, config))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, path in found.items():
            tar.add(path, name, recursive=False)
    sealed = under_passphrase.encrypt(packed.getvalue(), passphrase, settings.openpgp.gpg)
    secrets.write_new(file, sealed, 0o600)
    return tuple(found)


def _files(settings: Settings, config: Path) -> Iterator[tuple[str, Path]]:
    yield "gatepost.toml", config
    for folder, name in ((settings.rules.directory, "rules"), (settings.secrets.directory, "secrets")):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix != secrets.DRAFT:
                yield f"{name}/{path.name}", path
