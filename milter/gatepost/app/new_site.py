"""
A new site's files: in a directory of its own for one user, or the system's, as the systemd units want it.

The system's site has the places that the settings have by default (FHS) and the users of `gatepost.sysusers.conf`:

    /etc/gatepost       settings (read by the group), rules, secrets (root's alone; systemd hands them on)
    /var/lib/gatepost   database, spool and vault; the group `gatepost` shares all but the milter's spool

What is there already is never overwritten. The settings file comes last: where it lies is a whole site.
"""

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gatepost import secrets
from gatepost.app.store import upgrade_database
from gatepost.db.engine import Database
from gatepost.errors import ConfigError
from gatepost.settings import Settings
from gatepost.vault.blobs import directory_of

SYSTEM = Path("/etc/gatepost")
SETTINGS = "gatepost.toml"
_FOLDERS = {"spool": 0o700, "vault": 0o700, "state": 0o700, "run": 0o755, "rules": 0o755, "secrets": 0o755}
_USERS = ("gatepost", "gatepost-keys", "gatepost-policy", "gatepost-deliveries")  # the first is the milter's
_ALONE = 0o700
_SHARED = 0o2770  # what a service makes there belongs to the group, whoever made it


@dataclass(frozen=True, slots=True)
class Owner:
    """The user and the group, by number, that a site's state belongs to."""

    user: int
    group: int


def make_site(site: Path, settings: str, hostname: str) -> None:
    """Make a site whose files all lie in one directory; raises ConfigError for what is there already."""
    _refuse(site / name for name in (SETTINGS, "gatepost.db", *_FOLDERS))
    for name, mode in _FOLDERS.items():
        folder = site / name
        folder.mkdir(parents=True)
        folder.chmod(mode)
    _write_rules(site / "rules")
    secrets.make(site / "secrets", hostname)
    upgrade_database(Database(f"sqlite:///{site / 'gatepost.db'}"))
    secrets.write_new(site / SETTINGS, settings.encode(), 0o644)


def system_owner() -> Owner:
    """Give the milter's user and group; raises ConfigError unless root asks and the units' users are there."""
    if os.geteuid() != 0:
        raise ConfigError(f"{SYSTEM}: only root may make the system's site; run this as root")
    try:
        milter, *_ = [pwd.getpwnam(name) for name in _USERS]
    except KeyError as error:
        raise ConfigError(
            f"the services' users are missing ({error.args[0]}): run `systemd-sysusers` first"
        ) from None
    return Owner(milter.pw_uid, milter.pw_gid)


def make_system_site(settings: Settings, text: str, owner: Owner, root: Path = Path("/")) -> None:
    """
    Make the system's site below `root`, at the places that the settings name; `text` is their file.

    Rules and directories that are there already are kept. Raises ConfigError for other files that are there.
    """
    etc, rules, keep = (
        _below(root, path) for path in (SYSTEM, settings.rules.directory, settings.secrets.directory)
    )
    database = _below(root, Path(settings.database.url.removeprefix("sqlite:///")))
    _refuse([etc / SETTINGS, database, *(keep / name for name in secrets.FILES)])
    _make_folder(database.parent, _SHARED, owner)
    _make_folder(_below(root, settings.gateway.spool), _ALONE, owner)
    _make_folder(_below(root, directory_of(settings.vault.url)), _SHARED, owner)
    rules.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not any(rules.glob("*.toml")):
        _write_rules(rules)
    secrets.make(keep, settings.gateway.hostname)
    upgrade_database(Database(f"sqlite:///{database}"))
    # The group reads it, others do not: a database's URL may hold a password.
    secrets.write_new(etc / SETTINGS, text.encode(), 0o640)
    os.chown(etc / SETTINGS, -1, owner.group)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _refuse(paths: Iterable[Path]) -> None:
    there = [path for path in paths if path.exists()]
    if there:
        raise ConfigError(*(f"{path}: exists already; nothing is overwritten" for path in there))


def _make_folder(folder: Path, mode: int, owner: Owner) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, owner.user, owner.group)
    folder.chmod(mode)


def _write_rules(folder: Path) -> None:
    for rule in sorted(resources.files("gatepost.rules").iterdir(), key=lambda entry: entry.name):
        if rule.name.endswith(".toml"):
            secrets.write_new(folder / rule.name, rule.read_bytes(), 0o644)
