"""
Wires the checks of `gatepost doctor`.
"""

from pathlib import Path

from gatepost.app.store import database_of, gate, open_database, site_of, upgrade_database
from gatepost.decision.reader import read_rules
from gatepost.mta import doctor, finding
from gatepost.mta.finding import Finding
from gatepost.mta.postfix import checks
from gatepost.mta.postfix.alias_checks import alias_checks
from gatepost.settings import Settings


def examine(settings: Settings) -> list[Finding]:
    """Run every check."""
    folders = {"spool": settings.gateway.spool}
    if settings.vault.url.startswith("file://"):
        folders["vault"] = Path(settings.vault.url.removeprefix("file://"))
    services = {"milter": settings.gateway.socket, "keys": settings.keys.socket, "policy": settings.policy.socket}
    directory = settings.postfix.config_directory
    return [
        *finding.trial(
            "database",
            lambda: open_database(settings).close(),
            lambda: upgrade_database(database_of(settings)),
        ),
        *finding.trial("rules", lambda: read_rules(settings.rules.directory, frozenset())),
        *doctor.secret_checks(settings.secrets.directory),
        *doctor.folder_checks(folders),
        *doctor.service_checks(services),
        *checks.postfix_checks(directory, gate(settings), site_of(settings)),
        *alias_checks(directory, settings.gateway.aliases, settings.gateway.internal_domains),
        *doctor.host_checks(settings.openpgp.gpg, settings.gateway.max_sessions),
    ]
