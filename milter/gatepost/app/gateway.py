"""
The gateway, wired: directory, engines, vault and re-injection behind its ports.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gatepost import secrets
from gatepost.app.capabilities import own_capabilities_of
from gatepost.app.certification import certification_of
from gatepost.app.keys import key_client_of, pool_of, smime_of
from gatepost.app.monitoring import Monitor
from gatepost.app.store import host_of, open_database, quarantine_of, site_of
from gatepost.app.turn import alone_in
from gatepost.crypto.certificate import EitherReader
from gatepost.crypto.sequoia import minimal
from gatepost.crypto.x509 import X509Reader
from gatepost.db.cache import Cache
from gatepost.db.engine import Database
from gatepost.db.exchanges import SqlExchanges
from gatepost.db.journal import SqlJournal
from gatepost.db.keys import SqlAnnounced, SqlKeys
from gatepost.db.notices import SqlNotices
from gatepost.db.partners import SqlPartners
from gatepost.db.threads import SqlThreads
from gatepost.db.writer import Writer
from gatepost.decision.demand import Treatment
from gatepost.decision.ladder import Ladders
from gatepost.decision.plan import Plan
from gatepost.decision.reader import read_rules
from gatepost.decision.release import for_release
from gatepost.directory.key import Trust
from gatepost.errors import AddressError
from gatepost.gateway.alias_resolver import Resolver
from gatepost.gateway.aliases import Aliases, Destination, nowhere_else
from gatepost.gateway.arrival import Arrivals
from gatepost.gateway.despatch import Despatch
from gatepost.gateway.exchanges import Exchanges
from gatepost.gateway.gateway import Gateway
from gatepost.gateway.holding import Holding
from gatepost.gateway.introduction import Introduction
from gatepost.gateway.journal import Journal
from gatepost.gateway.metrics import CountedSubmitter
from gatepost.gateway.next_hops import Routes
from gatepost.gateway.notices import Notices
from gatepost.gateway.opening import Opening
from gatepost.gateway.protection import Protection
from gatepost.gateway.rehearsal import rehearse
from gatepost.gateway.release import Release
from gatepost.gateway.service import Service
from gatepost.gateway.signatures import Signatures
from gatepost.gateway.signing import SignedForms, SigningKeys
from gatepost.gateway.submission import Submitter
from gatepost.gateway.survey import Surveyor
from gatepost.gateway.telling import Telling
from gatepost.message import address
from gatepost.message.address import Address
from gatepost.message.direction import Site
from gatepost.message.transaction import Came, Client
from gatepost.mta.postfix.aliases import PostfixAliases
from gatepost.mta.postfix.routes import PostfixRoutes
from gatepost.mta.reinjection import Listener, Reinjection
from gatepost.settings import Settings
from gatepost.transport.capability import Capabilities

_POSTFIX_SECONDS = 60.0


def aliases_of(
    settings: Settings, site: Site, *, releasing: bool = False, monitor: Monitor | None = None
) -> Aliases:
    """Wire what follows the site's aliases; answers are remembered for a minute."""
    if settings.gateway.aliases not in {"resolve", "expanded"}:
        return Aliases(nowhere_else, site.is_internal)

    counted = (monitor or Monitor()).look_ups.counted

    def resolver(*, expanded: bool) -> Cache[Address, tuple[Destination, ...]]:
        tables = PostfixAliases(settings.postfix.config_directory, expanded=expanded)
        return Cache(counted(Resolver(tables, site.is_internal)), seconds=_POSTFIX_SECONDS)

    return Aliases(
        resolver(expanded=False),
        site.is_internal,
        parts=not releasing,
        behind=resolver(expanded=True) if settings.gateway.aliases == "expanded" else None,
    )


def routes_of(settings: Settings, *, monitor: Monitor) -> Routes:
    """Wire what asks for Postfix's routing; answers are remembered for a minute."""
    return Cache(
        monitor.look_ups.counted(PostfixRoutes(settings.postfix.config_directory)), seconds=_POSTFIX_SECONDS
    )


@dataclass(frozen=True, slots=True)
class Wired:
    """The gateway, and the service that stands before it."""

    gateway: Gateway
    service: Service


def gateway_of(
    settings: Settings,
    database: Database,
    capabilities: Capabilities,
    *,
    releasing: bool = False,
    monitor: Monitor | None = None,
) -> Gateway:
    """Wire the gateway alone; for releasing held copies, with the rules for that."""
    return wired_of(settings, database, capabilities, releasing=releasing, monitor=monitor).gateway


def wired_of(
    settings: Settings,
    database: Database,
    capabilities: Capabilities,
    *,
    releasing: bool = False,
    monitor: Monitor | None = None,
) -> Wired:
    """Wire the gateway and the service."""
    monitor = monitor or Monitor()
    site = site_of(settings)
    rules = read_rules(settings.rules.directory, detectors=frozenset())
    if releasing:
        rules = for_release(rules)
    keys = SqlKeys(database)
    pool = pool_of(settings)
    reader = EitherReader(openpgp=pool.encryptor, smime=X509Reader())
    certification = certification_of(settings)
    aliases = aliases_of(settings, site, releasing=releasing, monitor=monitor)
    key_worker = key_client_of(settings)
    surveyor = Surveyor(
        site=site,
        aliases=aliases,
        partners=SqlPartners(database),
        keys=keys,
        threads=SqlThreads(database),
        reader=reader,
        min_trust=Trust[settings.keys.min_trust.upper()],
        capabilities=capabilities,
        routes=routes_of(settings, monitor=monitor),
        certification=certification,
    )
    writer = Writer(database, host_of(settings))
    arrivals = Arrivals(
        authserv_id=settings.authserv_id,
        opening=Opening(
            opener=key_worker,
            signatures=Signatures(
                keys=keys,
                announced=SqlAnnounced(database),
                reader=reader,
                certification=certification,
                openpgp=pool,
            ),
            exchanges=Exchanges(SqlExchanges(database, writer)),
            inline=settings.openpgp.inline,
            directory=settings.gateway.spool,
        ),
        in_thread=surveyor.in_thread,
        warn=settings.gateway.show_unauthenticated,
    )
    notices = notices_of(settings, database)
    submitter = CountedSubmitter(reinjection_of(settings), monitor.metrics)
    monitor.readings |= {
        "lookups": lambda: monitor.look_ups.under_way,
        "pool": pool.state,
        "writer": writer.waiting,
    }
    journal = journal_of(settings, database)
    to_us = notice_submitter_of(settings, submitter)
    telling = Telling(notices=notices, aliases=aliases, submitter=to_us)
    holder = Holding(quarantine=quarantine_of(settings, database), notices=notices)
    gateway = Gateway(
        site=site,
        rules=rules,
        ladders=Ladders(
            encrypt=tuple(map(Treatment, settings.ladder.encrypt)), tls=tuple(map(Treatment, settings.ladder.tls))
        ),
        no_rung=Treatment.QUARANTINE if releasing else Treatment(settings.gateway.no_rung),
        surveyor=surveyor,
        signing=SigningKeys(
            when=settings.signing.when, required=settings.signing.required, keys=keys, reader=reader, site=site
        ),
        protection=Protection(
            authserv_id=settings.authserv_id,
            tags=rules.tags,
            encryption=pool,
            smime=smime_of(settings),
            signed=SignedForms(key_worker, settings.gateway.spool),
            introduction=Introduction(keys=keys, reader=reader, minimal=minimal),
            directory=settings.gateway.spool,
        ),
        arrivals=arrivals,
        journal=journal,
        despatch=Despatch(
            records=writer, holder=holder, submitter=submitter, telling=telling, metrics=monitor.metrics
        ),
    )
    service = Service(
        addresses=settings.decrypt_addresses,
        site=site,
        mail=gateway,
        inside=aliases.inside,
        arrivals=arrivals,
        journal=journal,
        despatch=Despatch(
            records=writer, holder=holder, submitter=to_us, telling=telling, metrics=monitor.metrics
        ),
        notices=notices,
        telling=telling,
        directory=settings.gateway.spool,
    )
    return Wired(gateway, service)


def journal_of(settings: Settings, database: Database, *, holder: str = "") -> Journal:
    """Wire the journal; a milter is known by its host and its socket, any other holder by its name beside them."""
    return Journal(SqlJournal(database), holder=" ".join(filter(None, (host_of(settings), holder))))


def notices_of(settings: Settings, database: Database) -> Notices:
    """Wire what writes notices."""
    return Notices(
        log=SqlNotices(database),
        admin=address.parse(settings.admin.encode()),
        hostname=settings.gateway.hostname,
        per_hour=settings.gateway.notices_per_hour,
    )


@contextmanager
def releasing(settings: Settings) -> Iterator[Release]:
    """
    Open what releases held copies; what it recorded is written at the end.

    One release runs on a host at a time: so whatever lease a release of this host holds in the journal belongs to
    one that died, and ends.
    """
    database = open_database(settings)
    gateway = gateway_of(settings, database, own_capabilities_of(settings, database), releasing=True)
    key_worker = key_client_of(settings)
    try:
        with alone_in(settings.gateway.spool):
            journal = journal_of(settings, database, holder="release")
            journal.free()
            yield Release(
                quarantine=quarantine_of(settings, database),
                data_keys=key_worker,
                outbound=gateway,
                journal=journal,
                spool=settings.gateway.spool,
                seconds=settings.gateway.max_seconds,
            )
    finally:
        key_worker.close()
        gateway.close()


def notice_submitter_of(settings: Settings, submitter: Submitter) -> Submitter:
    """Give the way of our own notices: that of copies, or where aliases are expanded before Gatepost, by there."""
    if settings.gateway.aliases != "expanded":
        return submitter
    return reinjection_of(settings, plain=settings.gateway.behind_notices)


def reinjection_of(settings: Settings, *, plain: str = "") -> Reinjection:
    """Wire the way to the re-injection listeners; `plain` takes the place of the first one."""
    return Reinjection(
        plain=_listener(plain or settings.gateway.reinject),
        tls=_listener(settings.gateway.reinject_tls),
        hostname=settings.gateway.hostname,
        client_certificate=secrets.locate("client.pem", settings.secrets.directory),
        listener_certificate=secrets.locate("listener.pem", settings.secrets.directory),
    )


def _listener(text: str) -> Listener:
    host, _, port = text.rpartition(":")
    return Listener(host, int(port))


def explain(
    settings: Settings,
    raw: bytes,
    *,
    sender: str,
    recipients: Sequence[str],
    subject: str | None,
    client: Client | None,
    came: Came = Came.PLAIN,
) -> Plan:
    """Decide about a message without sending anything; raises AddressError for a recipient that is refused."""
    database = open_database(settings)
    gateway = gateway_of(settings, database, own_capabilities_of(settings, database))
    transaction = rehearse(
        raw,
        site=site_of(settings),
        sender=sender,
        recipients=recipients,
        subject=subject,
        client=client,
        came=came,
    )
    for one in transaction.recipients:
        try:
            gateway.check_recipient(one.address)
        except AddressError as error:
            raise AddressError(f"the milter would refuse the recipient {one.address}: {error}") from error
    return gateway.plan(transaction, gateway.survey(transaction))
