"""
`gatepost init`: makes a site. What is there already is never overwritten.

The settings file comes last: a directory that holds one is a whole site.
"""

import json
import socket
import tempfile
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from gatepost.cli.invocation import invocation
from gatepost.errors import ConfigError

_FOLDERS = {"spool": 0o700, "vault": 0o700, "run": 0o755, "rules": 0o755, "secrets": 0o755}
_SETTINGS = """\
# Settings of this Gatepost. Every other key has a default: see gatepost.toml(5).
# A relative path is relative to this file's directory.

[gateway]
# Our domains, exact; ".hosp.test" adds the subdomains.
internal_domains = {domains}
# This gateway's name in header fields and notices.
hostname = {hostname}
# Where Postfix reaches the milter.
socket = {milter}
# Large messages under way lie here.
spool = {spool}

[keys]
# Where the key worker, the one process with private keys, is reached.
socket = {keys}

[policy]
# Where Postfix asks how a domain's TLS is verified.
socket = {policy}

[database]
url = {database}

[vault]
# Held and picked-up messages, sealed.
url = {vault}

[secrets]
directory = {secrets}

[rules]
directory = {rules}
"""


def init(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the site is made.")],
    domain: Annotated[list[str], typer.Option("--domain", help="One of our domains; may be repeated.")],
    hostname: Annotated[str, typer.Option("--hostname", help="This gateway's name; default: the host's.")] = "",
) -> None:
    """Make a site: settings, rules, database, secrets, spool and vault."""
    site = directory.resolve()
    name = hostname or socket.getfqdn()
    settings = settings_text(site, domain, name)
    _check(settings)
    _refuse_existing(site)
    _make(site, settings, name)
    made = site / "gatepost.toml"
    invocation(ctx).emit({"config": str(made)}, f"made {made}\nnext: gatepost -c {made} setup postfix")


def settings_text(site: Path, domains: list[str], hostname: str) -> str:
    """Write the settings that a new site needs; everything else is left to the defaults."""
    values = {
        "domains": domains,
        "hostname": hostname,
        "milter": f"unix:{site / 'run' / 'milter.sock'}",
        "keys": f"unix:{site / 'run' / 'keys.sock'}",
        "policy": f"unix:{site / 'run' / 'policy.sock'}",
        "spool": str(site / "spool"),
        "database": f"sqlite:///{site / 'gatepost.db'}",
        "vault": f"file://{site / 'vault'}",
        "secrets": str(site / "secrets"),
        "rules": str(site / "rules"),
    }
    # A JSON string or list of strings is the same in TOML, but for U+007F, which no path or domain here needs.
    return _SETTINGS.format_map({key: json.dumps(value, ensure_ascii=False) for key, value in values.items()})


def _check(text: str) -> None:
    """Check the settings before anything is made; raises ConfigError."""
    from gatepost.settings import read

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "gatepost.toml"
        draft.write_text(text, encoding="utf-8")
        try:
            read(draft)
        except ConfigError as error:
            raise ConfigError(*(fault.removeprefix(f"{draft}: ") for fault in error.faults)) from None


def _refuse_existing(site: Path) -> None:
    there = [site / name for name in ("gatepost.toml", "gatepost.db", *_FOLDERS) if (site / name).exists()]
    if there:
        raise ConfigError(*(f"{path}: exists already; nothing is overwritten" for path in there))


def _make(site: Path, settings: str, hostname: str) -> None:
    from gatepost import secrets
    from gatepost.app.store import upgrade_database

    for name, mode in _FOLDERS.items():
        folder = site / name
        folder.mkdir(parents=True)
        folder.chmod(mode)
    for rule in sorted(resources.files("gatepost.rules").iterdir(), key=lambda entry: entry.name):
        if rule.name.endswith(".toml"):
            secrets.write_new(site / "rules" / rule.name, rule.read_bytes(), 0o644)
    secrets.make(site / "secrets", hostname)
    upgrade_database(f"sqlite:///{site / 'gatepost.db'}")
    secrets.write_new(site / "gatepost.toml", settings.encode(), 0o644)
