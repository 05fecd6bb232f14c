"""
The schema's version: bring it up to date, tell it, refuse to run on another.

Migrations stand in the package `gatepost.sql` (directory `sql/`); Alembic keeps the version in its own table.
"""

import io
import os
from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from gatepost.db.engine import Database
from gatepost.errors import ConfigError

_GROUP = 0o060  # reading and writing, by the group
# Held until the transaction ends, so that two hosts do not upgrade at once; the number is the name, as ASCII.
TAKE_TURNS = f"SELECT pg_advisory_xact_lock({int.from_bytes(b'gatepost')})"


def upgrade(database: Database) -> None:
    """
    Create the schema or bring it up to date, in one transaction.

    A new SQLite file is for its owner, and for its group as far as the directory is. Raises StorageError, and
    ConfigError where the schema is of a later Gatepost.
    """
    if database.file is not None:
        _create_file(database)
    config = _config()
    try:
        with database.writing() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql(TAKE_TURNS)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(_wrong(database, current(database))) from error


def current(database: Database) -> str:
    """Give the version of the schema, or empty where there is none; raises StorageError."""
    if database.file is not None and not database.file.exists():
        return ""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def newest() -> str:
    """Give the version that this Gatepost needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def check(database: Database) -> None:
    """Raise ConfigError unless the schema is exactly the one that this Gatepost needs."""
    if database.file is not None and not database.file.exists():
        raise ConfigError(
            f"the database {database.name} is not there: mount its disk or restore it; "
            "for a new, empty one run `gatepost db upgrade`"
        )
    found = current(database)
    if found != newest():
        raise ConfigError(_wrong(database, found))


def ddl(dialect: str) -> str:
    """Write all migrations as SQL, for admins who create the schema themselves."""
    output = io.StringIO()
    config = _config(output)
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return output.getvalue()


def _wrong(database: Database, found: str) -> str:
    if not found:
        return f"the database {database.name} has no Gatepost schema: run `gatepost db upgrade`"
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found in known:
        return f"the database {database.name} has the older schema {found}: run `gatepost db upgrade`"
    return f"the database {database.name} has the schema {found} of a later Gatepost: install that, or a backup"


def _config(output: io.StringIO | None = None) -> Config:
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", str(resources.files("gatepost.sql")).replace("%", "%%"))
    return config


def _create_file(database: Database) -> None:
    """
    Create SQLite's file, shared as its directory is: the group may do with it what it may do there.

    Made by root it is given to the directory's owner and group, since other users serve it; SQLite gives the files
    beside it (-wal, -shm) the same mode and owner.
    """
    if database.file is None:
        return
    try:
        folder = database.file.parent.stat()
        descriptor = os.open(database.file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            if os.geteuid() == 0:
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            os.fchmod(descriptor, 0o600 | folder.st_mode & _GROUP)
        finally:
            os.close(descriptor)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigError(f"database.url: {database.file}: {error.strerror}") from error
