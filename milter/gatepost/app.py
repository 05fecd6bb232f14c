"""
The composition root: settings in, wired objects out. The only place that constructs adapters.
"""

from gatepost.db import schema
from gatepost.db.engine import Database


def open_database(url: str) -> Database:
    """Open the site's database; raises ConfigError unless its schema is the one that this Gatepost needs."""
    database = Database(url)
    schema.check(database)
    return database


def upgrade_database(url: str) -> str:
    """Create the schema or bring it up to date, and give its version; raises ConfigError or StorageError."""
    database = Database(url)
    schema.upgrade(database)
    version = schema.current(database)
    database.close()
    return version
