"""
Wires the checks of `gatepost doctor`.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from gatepost import secrets
from gatepost.app.certification import authorities_of
from gatepost.app.expiring import endings_of
from gatepost.app.keys import keyring_of, tokens_of
from gatepost.app.store import database_of, gate, host_of, open_database, site_of, upgrade_database
from gatepost.db.deliveries import SqlDeliveries
from gatepost.decision.reader import read_rules
from gatepost.errors import ConfigError, GatepostError
from gatepost.message import address
from gatepost.message.address import NULL_SENDER
from gatepost.mta import doctor, finding
from gatepost.mta.finding import Finding
from gatepost.mta.postfix import checks, postconf
from gatepost.mta.postfix.alias_checks import alias_checks
from gatepost.mta.postfix.log_checks import following_check, log_checks
from gatepost.mta.postfix.routes import PostfixRoutes
from gatepost.mta.postfix.service_checks import service_address_checks
from gatepost.mta.resolver_checks import resolver_checks
from gatepost.settings import Settings
from gatepost.transport.dns import StubResolver

_SOME_MAIL = (NULL_SENDER, address.parse(b"<doctor@gatepost.invalid>"))


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
        *_token_checks(settings),
        *_authority_checks(settings),
        *_ending_checks(settings),
        *doctor.folder_checks(folders),
        *doctor.service_checks(services),
        doctor.policy_check(settings.policy.socket),
        *finding.trial("Postfix's routing tables can be asked", lambda: PostfixRoutes(directory)(_SOME_MAIL)),
        *doctor.report_checks(reports=settings.policy.tlsrpt),
        *resolver_checks(settings.dns.resolvers, lambda: _validates(settings), _queue_directory(directory)),
        *checks.postfix_checks(directory, gate(settings), site_of(settings)),
        *log_checks(directory, settings.postfix.log),
        *_following_checks(settings),
        *alias_checks(directory, settings.gateway.aliases, settings.gateway.internal_domains),
        *service_address_checks(directory, settings.gateway.aliases, settings.decrypt_addresses),
        *doctor.host_checks(settings.openpgp.gpg),
    ]


def _token_checks(settings: Settings) -> Iterator[Finding]:
    """Check that keys of ours on tokens can be used; where the caller may not read the PIN, nothing is told."""
    pin = settings.secrets.directory / secrets.PIN
    if not settings.keys.pkcs11_module or (pin.exists() and not os.access(pin, os.R_OK)):
        return
    yield from finding.trial("PIN of the tokens", lambda: secrets.read_pin(settings.secrets.directory))
    yield from finding.trial(
        f"PKCS #11 module {settings.keys.pkcs11_module}", lambda: tokens_of(settings).labels()
    )
    with suppress(GatepostError):  # the database's own faults are told by its check, the module's by the one above
        tokens = tokens_of(settings)
        for key in keyring_of(settings).rows():
            if key.own and key.source.startswith("pkcs11:"):
                yield from finding.trial(f"key {key.source}", partial(tokens.check, key.source))
        tokens.close()


def _authority_checks(settings: Settings) -> Iterator[Finding]:
    for name in ("roots", "intermediates"):
        read = partial(authorities_of, settings, name)
        yield from doctor.authority_checks(f"smime.{name}", getattr(settings.smime, name), read, datetime.now(UTC))


def _validates(settings: Settings) -> bool:
    """Tell whether the resolver vouches for the root zone, which is signed; raises LookUpFailed, ConfigError."""

    async def ask() -> bool:
        return (await StubResolver(settings.dns.resolvers, settings.dns.timeout).txt(".")).secure

    return asyncio.run(ask())


def _queue_directory(directory: Path) -> Path | None:
    try:
        return Path(postconf.value(directory, "queue_directory"))
    except ConfigError:  # another check says so
        return None


def _ending_checks(settings: Settings) -> Iterator[Finding]:
    """Check that no key in use expires soon, or did lately; the database's faults are told by its own check."""
    if settings.keys.warn_days:
        now = datetime.now(UTC)
        near = timedelta(days=max(settings.keys.warn_days))
        with suppress(GatepostError):
            endings = endings_of(settings, open_database(settings)).between(now - near, now + near)
            yield from doctor.ending_checks(endings, now)


def _following_checks(settings: Settings) -> Iterator[Finding]:
    """Check that the log is followed, if it is to be; the database's own faults are told by its check."""
    if settings.postfix.log:
        with suppress(GatepostError):
            seen = SqlDeliveries(open_database(settings), host_of(settings)).seen()
            yield following_check(seen, datetime.now(UTC))
