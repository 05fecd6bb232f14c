"""
Wires what tells the admin that keys and certificates expire.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from gatepost.app.gateway import aliases_of, notice_submitter_of, notices_of, reinjection_of
from gatepost.app.store import site_of
from gatepost.db.endings import SqlEndings
from gatepost.db.engine import Database
from gatepost.db.notices import SqlNotices
from gatepost.directory.key import Trust
from gatepost.gateway.expiring import Expiring
from gatepost.gateway.telling import Telling
from gatepost.log import logger
from gatepost.settings import Settings
from gatepost.workers.turns import Turns

_SECONDS = 3600.0
_FIRST = 60.0  # by then the mail server takes notices, if both were started at once


def endings_of(settings: Settings, database: Database) -> SqlEndings:
    """Give what tells which keys in use expire."""
    least = Trust[settings.keys.min_trust.upper()]
    return SqlEndings(database, [level.name.lower() for level in Trust if level >= least])


def expiring_of(
    settings: Settings, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Expiring:
    """Give what tells the admin."""
    notices = notices_of(settings, database)
    submitter = notice_submitter_of(settings, reinjection_of(settings))
    return Expiring(
        endings=endings_of(settings, database),
        log=SqlNotices(database),
        notices=notices,
        telling=Telling(notices=notices, aliases=aliases_of(settings, site_of(settings)), submitter=submitter),
        days=settings.keys.warn_days,
        patience=settings.gateway.max_seconds,
        clock=clock,
    )


def tell_what_expires(settings: Settings, database: Database) -> tuple[Turns, ...]:
    """Begin to tell the admin, once an hour; nothing where no days are named."""
    if not settings.keys.warn_days:
        return ()
    return (Turns(expiring_of(settings, database).tell, _failed, _SECONDS, first=_FIRST),)


def _failed(why: str) -> None:
    logger.warning("the admin waits to be told what expires", cause=why)
