"""
What a site keeps, opened: database, partner table, quarantine, events; and what Postfix must know of it.
"""

import ipaddress
import socket
from datetime import timedelta
from functools import partial
from pathlib import Path

from gatepost import secrets
from gatepost.db import schema
from gatepost.db.deliveries import chain_of
from gatepost.db.engine import Database
from gatepost.db.events import SqlEvents
from gatepost.db.held import SqlHeld
from gatepost.db.partners import PartnerTable
from gatepost.message.direction import FROM_INSIDE, FROM_OUTSIDE, Site
from gatepost.mta.postfix.gate import Behind, Gate
from gatepost.settings import Settings
from gatepost.vault.blobs import DirectoryBlobs, directory_of
from gatepost.vault.held import Quarantine


def database_of(settings: Settings) -> Database:
    """Give the site's database, whatever its schema; raises ConfigError."""
    url = settings.database.url
    password = "" if url.startswith("sqlite:") else secrets.read_password(settings.secrets.directory)
    return Database(url, password)


def open_database(settings: Settings) -> Database:
    """Open the site's database; raises ConfigError unless its schema is the one that this Gatepost needs."""
    database = database_of(settings)
    schema.check(database)
    return database


def upgrade_database(database: Database) -> str:
    """Create the schema or bring it up to date, and give its version; raises ConfigError or StorageError."""
    schema.upgrade(database)
    version = schema.current(database)
    database.close()
    return version


def site_of(settings: Settings) -> Site:
    """Tell what is inside."""
    gateway = settings.gateway
    return Site(
        domains=frozenset(gateway.internal_domains),
        networks=tuple(ipaddress.ip_network(one) for one in gateway.internal_networks),
        inside_listeners=frozenset((*gateway.inside_listeners, FROM_INSIDE)),
        outside_listeners=frozenset((*gateway.outside_listeners, FROM_OUTSIDE)),
    )


def host_of(settings: Settings) -> str:
    """Name this host's milter, as the journal and the record of events know it: by host name and socket."""
    return f"{socket.gethostname()} {settings.gateway.socket}"


def chains_of(settings: Settings) -> tuple[str, ...]:
    """Name the chains of events that this host writes: its milter's, and that of the mail server's log."""
    host = host_of(settings)
    return host, chain_of(host)


def gate(settings: Settings) -> Gate:
    """Tell what Postfix must know of this site."""
    secrets = settings.secrets.directory
    return Gate(
        milter_socket=settings.gateway.socket,
        policy_socket=settings.policy.socket,
        reinject=settings.gateway.reinject,
        reinject_tls=settings.gateway.reinject_tls,
        listener_pem=secrets / "listener.pem",
        client_pem=secrets / "client.pem",
        exempt=settings.gateway.exempt_listeners,
        site=site_of(settings),
        follows_aliases=settings.gateway.aliases == "resolve",
        behind=Behind(
            inside=settings.gateway.behind_inside,
            outside=settings.gateway.behind_outside,
            notices=settings.gateway.behind_notices,
        )
        if settings.gateway.aliases == "expanded"
        else None,
    )


def quarantine_of(settings: Settings, database: Database) -> Quarantine:
    """Give the quarantine: rows in the database, sealed messages in the vault."""
    public = partial(secrets.read_public, "vault", settings.secrets.directory)
    public()  # a fault of it is told before the first message
    return Quarantine(
        store=SqlHeld(database),
        blobs=DirectoryBlobs(directory_of(settings.vault.url)),
        public=public,
        keep=timedelta(days=settings.quarantine.keep_days),
    )


def open_quarantine(settings: Settings) -> Quarantine:
    """Open the quarantine for an administrator; raises ConfigError."""
    return quarantine_of(settings, open_database(settings))


def open_events(settings: Settings) -> SqlEvents:
    """Open the record of what was decided; raises ConfigError."""
    return SqlEvents(open_database(settings))


def schema_versions(settings: Settings) -> tuple[str, str]:
    """Give the version of the database's schema, empty if it has none, and the one that is needed."""
    return schema.current(database_of(settings)), schema.newest()


def schema_sql(dialect: str) -> str:
    """Give the schema as SQL of `sqlite` or `postgresql`."""
    return schema.ddl(dialect)


def partner_table(settings: Settings) -> PartnerTable:
    """Open the partner table for editing."""
    return PartnerTable(open_database(settings))


def unix_path(spelled: str) -> Path:
    """Give the path of a UNIX socket as the settings spell it (`unix:/path`)."""
    return Path(spelled.removeprefix("unix:"))
