"""
The service that follows the mail server's log, served.
"""

import pwd
import signal
import threading
from collections.abc import Callable

from gatepost.app.store import host_of, open_database
from gatepost.db.deliveries import SqlDeliveries
from gatepost.errors import ConfigError
from gatepost.gateway.following import Follower
from gatepost.mta.postfix import postconf
from gatepost.mta.postfix.delivery_log import DeliveryLog
from gatepost.settings import Settings
from gatepost.vault.expiry import Expiry
from gatepost.workers import notify
from gatepost.workers.following import follow


def serve_deliveries(settings: Settings, ready: Callable[[], None]) -> None:
    """Follow the log until SIGTERM; raises ConfigError where none is named."""
    if not settings.postfix.log:
        raise ConfigError('[postfix] log: is empty; name Postfix\'s log, as "/var/log/mail.log", or "journal"')
    database = open_database(settings)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    log = _log_of(settings)
    store = SqlDeliveries(database, host_of(settings))
    expiry = Expiry("deliveries", SqlDeliveries(database, host_of(settings)).purge)
    ready()
    try:
        follow(Follower(log=log, store=store), ended, notify.Pulse())
    finally:
        notify.stopping()
        expiry.close()
        log.close()
        database.close()


def _log_of(settings: Settings) -> DeliveryLog:
    directory = settings.postfix.config_directory
    try:
        owner = pwd.getpwnam(postconf.mail_owner(directory)).pw_uid
    except KeyError:
        owner = None
    return DeliveryLog(settings.postfix.log, name=postconf.value(directory, "syslog_name"), owner=owner)
