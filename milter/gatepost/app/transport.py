"""
TLS to other domains, wired: DNS, the web, their cache, and the one answer made from it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from gatepost.app.store import open_database, site_of
from gatepost.db.discoveries import SqlDiscoveries, SqlPolicies
from gatepost.db.engine import Database
from gatepost.db.partners import SqlPartners
from gatepost.db.usage import SqlUsage
from gatepost.message.address import NULL_SENDER
from gatepost.mta.postfix.routes import PostfixRoutes
from gatepost.settings import Settings
from gatepost.transport import target
from gatepost.transport.assurance import Assurance
from gatepost.transport.discovery import Discoverer
from gatepost.transport.dns import StubResolver
from gatepost.transport.https import Https
from gatepost.transport.kept_discoveries import KeptDiscoverer, OnlyKept
from gatepost.transport.kept_policies import KeptPolicies, NoPolicies
from gatepost.transport.look_ups import NetworkLookUps, NetworkProbes
from gatepost.transport.recent_discoveries import RecentDiscoveries
from gatepost.transport.sts_fetch import Targets
from gatepost.transport.sts_policy import StsPolicies
from gatepost.transport.suggestion import Adviser, Suggestion
from gatepost.transport.tls_check import Checked, Detours, TlsCheck

# Of the deadline: an answer that is put together at its very end would come too late for who waits until then.
_FOR_ALL, _FOR_POLICIES = 0.9, 0.8
_PROBE_SECONDS = 10.0


def discoverer_of(settings: Settings, kept: KeptPolicies) -> Discoverer:
    """Wire what looks next hops up live, MTA-STS policies kept as given."""
    resolver = resolver_of(settings)
    policies = StsPolicies(
        resolver,
        Https(settings.dns.https_ca_file),
        kept,
        targets_of(settings),
        seconds=settings.dns.timeout * _FOR_POLICIES,
    )
    return Discoverer(NetworkLookUps(resolver, policies), timeout=settings.dns.timeout * _FOR_ALL)


def resolver_of(settings: Settings) -> StubResolver:
    """Wire what asks DNS, for one event loop."""
    return StubResolver(settings.dns.resolvers, settings.dns.timeout)


def targets_of(settings: Settings) -> Targets:
    """Give what tells which addresses may be connected to."""
    return partial(target.reachable, allow_private=settings.dns.allow_private)


def probes_of(settings: Settings) -> NetworkProbes:
    """Wire what knocks at mail hosts, for one event loop."""
    return NetworkProbes(
        resolver_of(settings),
        targets_of(settings),
        hello=settings.gateway.hostname,
        seconds=_PROBE_SECONDS,
        ca_file=settings.dns.https_ca_file,
    )


def kept_discoverer_of(settings: Settings, database: Database) -> KeptDiscoverer:
    """Wire what looks next hops up, in the cache that all hosts share or live."""
    return KeptDiscoverer(discoverer_of(settings, SqlPolicies(database)), SqlDiscoveries(database))


def assurance_of(settings: Settings, database: Database) -> Assurance:
    """Wire what tells how TLS to a next hop is assured, for one event loop."""
    return Assurance(SqlPartners(database), RecentDiscoveries(kept_discoverer_of(settings, database)))


def purge_of(database: Database) -> Callable[[], int]:
    """Give what deletes look-ups that have long been over."""
    discoveries = SqlDiscoveries(database)
    return lambda: discoveries.purge(datetime.now(UTC))


def tls_check(settings: Settings, domain: str, *, cached: bool) -> Checked:
    """
    Tell what is known of TLS to a domain; `cached`: what is kept for the daemons, without any look-up.

    Raises AddressError for what is neither a domain nor a next hop.
    """
    database = open_database(settings)
    partners = SqlPartners(database)
    if cached:
        check = TlsCheck(partners, OnlyKept(SqlDiscoveries(database)), detours_of(settings), None)
    else:
        check = TlsCheck(
            partners, discoverer_of(settings, NoPolicies()), detours_of(settings), probes_of(settings)
        )
    return asyncio.run(check.check(domain))


def detours_of(settings: Settings) -> Detours:
    """Give what tells where Postfix sends mail of no sender in particular."""
    routes = PostfixRoutes(settings.postfix.config_directory)
    return lambda address: routes((NULL_SENDER, address))


def suggest_partners(settings: Settings, *, days: int, least: int, most: int) -> tuple[Suggestion, ...]:
    """Look for domains that could take assured TLS, by the record of the last days; raises StorageError."""
    database = open_database(settings)
    partners = SqlPartners(database)
    adviser = Adviser(
        partners=partners,
        checks=TlsCheck(partners, kept_discoverer_of(settings, database), detours_of(settings), None),
        is_internal=site_of(settings).is_internal_domain,
        ladder=settings.ladder.encrypt,
    )
    uses = SqlUsage(database).by_domain(datetime.now(UTC) - timedelta(days=days))
    return asyncio.run(adviser.suggest(uses, least=least, most=most))
