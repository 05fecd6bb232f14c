"""
`gatepost init`: makes a site. What is there already is never overwritten.

Named /etc/gatepost it makes the system's site, which the systemd units serve; elsewhere one that lies in that
directory whole, for `gatepost run` under one user.
"""

import json
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import invocation
from gatepost.errors import ConfigError

if TYPE_CHECKING:
    from gatepost.settings import Settings

_SYSTEM_SETTINGS = """\
# Settings of this Gatepost. Every other key has a default: see gatepost.toml(5).
# A relative path is relative to this file's directory.

[gateway]
# Our domains, exact; ".hosp.test" adds the subdomains.
internal_domains = {domains}
# This gateway's name in header fields and notices.
hostname = {hostname}
"""
_SETTINGS = (
    _SYSTEM_SETTINGS
    + """\
# Where Postfix reaches the milter.
socket = {milter}
# Large messages under way lie here.
spool = {spool}

[keys]
# Where the key worker, the one process with private keys, is reached.
socket = {keys}
# It notes here how far it has stamped the record of events.
state = {state}

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
)


def init(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the site is made.")],
    domain: Annotated[list[str], typer.Option("--domain", help="One of our domains; may be repeated.")],
    hostname: Annotated[str, typer.Option("--hostname", help="This gateway's name; default: the host's.")] = "",
) -> None:
    """Make a site: settings, rules, database, secrets, spool and vault; /etc/gatepost: for the systemd units."""
    from gatepost.app import new_site

    site = directory.resolve()
    name = hostname or socket.getfqdn()
    if site == new_site.SYSTEM:
        settings = system_settings_text(domain, name)
        new_site.make_system_site(_checked(settings), settings, new_site.system_owner())
        next_command = "gatepost setup postfix"
    else:
        settings = settings_text(site, domain, name)
        _checked(settings)
        new_site.make_site(site, settings, name)
        next_command = f"gatepost -c {site / new_site.SETTINGS} setup postfix"
    made = site / new_site.SETTINGS
    invocation(ctx).emit({"config": str(made)}, f"made {made}\nnext: {next_command}")


def system_settings_text(domains: list[str], hostname: str) -> str:
    """Write the settings of the system's site, whose places are the defaults."""
    return _filled(_SYSTEM_SETTINGS, {"domains": domains, "hostname": hostname})


def settings_text(site: Path, domains: list[str], hostname: str) -> str:
    """Write the settings that a new site needs; everything else is left to the defaults."""
    values: dict[str, str | list[str]] = {
        "domains": domains,
        "hostname": hostname,
        "milter": f"unix:{site / 'run' / 'milter.sock'}",
        "keys": f"unix:{site / 'run' / 'keys.sock'}",
        "state": str(site / "state"),
        "policy": f"unix:{site / 'run' / 'policy.sock'}",
        "spool": str(site / "spool"),
        "database": f"sqlite:///{site / 'gatepost.db'}",
        "vault": f"file://{site / 'vault'}",
        "secrets": str(site / "secrets"),
        "rules": str(site / "rules"),
    }
    return _filled(_SETTINGS, values)


def _filled(text: str, values: dict[str, str | list[str]]) -> str:
    # A JSON string or list of strings is the same in TOML, but for U+007F, which no path or domain here needs.
    return text.format_map({key: json.dumps(value, ensure_ascii=False) for key, value in values.items()})


def _checked(text: str) -> "Settings":
    """Read the settings before anything is made; raises ConfigError."""
    from gatepost.settings import read

    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "gatepost.toml"
        draft.write_text(text, encoding="utf-8")
        try:
            return read(draft)
        except ConfigError as error:
            raise ConfigError(*(fault.removeprefix(f"{draft}: ") for fault in error.faults)) from None
