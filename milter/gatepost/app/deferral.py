"""
Wires what tells senders that their mail waits for a verified TLS connection.
"""

from gatepost.app.gateway import aliases_of, notice_submitter_of, notices_of, reinjection_of
from gatepost.app.store import host_of, site_of
from gatepost.db.deferrals import SqlWaiting
from gatepost.db.engine import Database
from gatepost.decision.reader import read_rules
from gatepost.gateway.deferral import Deferral
from gatepost.gateway.telling import Telling
from gatepost.log import logger
from gatepost.settings import Settings
from gatepost.workers.turns import Turns

_SECONDS = 10.0


def deferrals_of(settings: Settings, database: Database) -> tuple[Turns, ...]:
    """Begin to tell senders, where the mail server's log is followed; else nothing is known of any delay."""
    if not settings.postfix.log:
        return ()
    site = site_of(settings)
    notices = notices_of(settings, database)
    submitter = notice_submitter_of(settings, reinjection_of(settings))
    deferral = Deferral(
        waiting=SqlWaiting(database, host_of(settings)),
        notices=notices,
        telling=Telling(notices=notices, aliases=aliases_of(settings, site), submitter=submitter),
        is_internal=site.is_internal,
        tag=read_rules(settings.rules.directory, frozenset()).encrypting_tag,
        after_seconds=settings.gateway.deferral_minutes * 60,
        patience=settings.gateway.max_seconds,
    )
    return (Turns(deferral.tell, _failed, _SECONDS),)


def _failed(why: str) -> None:
    logger.warning("senders of deferred mail wait to be told", cause=why)
