"""
Whether MTA-STS assures TLS to a domain (RFC 8461), from DNS, the policy host, and the last good policy.

Rules:
  * A policy in mode `enforce` assures; `testing` and `none` assure nothing.
  * The kept policy is used while DNS still names its id. A new id has the policy fetched.
  * While DNS or the policy host fails, or the TXT record has gone, the kept policy counts until its `max_age` ends
    (section 3.3). A domain that gives MTA-STS up publishes a policy of mode `none` first (section 8.3).
  * Without a kept one, a policy that cannot be fetched is as good as none (section 3.3), but DNS that gives no
    trustworthy answer, or a fetch that goes on, leaves it unknown.
  * Only mail hosts that the policy names go into the line for Postfix (section 4.1). Where it names none of them,
    nobody may deliver there (section 5): that too is unknown, until DNS or the policy changes.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from gatepost.errors import StorageError, cause
from gatepost.log import logger
from gatepost.transport.capability import Method
from gatepost.transport.discovery import Finding, MailHosts
from gatepost.transport.kept_policies import KeptPolicies, KeptPolicy
from gatepost.transport.mta_sts import ASSURING, StsError, policy_line, read_policy, read_records
from gatepost.transport.resolver import LookUpFailed, Records, Resolver
from gatepost.transport.sts_fetch import LEFT_ALONE, PolicyFetches, Targets, Web

_REFRESHED_AFTER = timedelta(days=1)  # RFC 8461 section 3.3
_SHOWN = 5


def _now() -> datetime:
    return datetime.now(UTC)


class StsPolicies:
    """Judges domains, for one event loop."""

    def __init__(
        self,
        resolver: Resolver,
        web: Web,
        kept: KeptPolicies,
        targets: Targets,
        *,
        seconds: float,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Take the seconds after which a question is answered from what is kept; less than who asks would wait."""
        self._resolver = resolver
        self._kept = kept
        self._fetches = PolicyFetches(resolver, web, kept, targets, clock=clock)
        self._seconds = seconds
        self._clock = clock

    async def judge(self, domain: str, hosts: asyncio.Future[MailHosts]) -> Finding:
        """
        Tell whether a policy assures TLS to the mail hosts, which may still be being looked up.

        Raises LookUpFailed where that cannot be told now.
        """
        ends = asyncio.get_running_loop().time() + self._seconds
        kept = await self._counting(domain)
        try:
            records = await self._records(domain, ends)
        except LookUpFailed as error:
            if kept is None:
                raise
            return await self._finding(kept, hosts, LEFT_ALONE, f"{error}; the kept policy counts")
        identity, fault = _identity(domain, records)
        seconds = records.seconds
        if identity is not None and (kept is None or kept.id != identity):
            fetched = await self._fetches.fetch(domain, identity, ends - asyncio.get_running_loop().time())
            if isinstance(fetched, KeptPolicy):
                return await self._finding(fetched, hosts, seconds)
            seconds = min(seconds, LEFT_ALONE)
            fault = f"policy {identity} of {domain} " + (
                f"could not be fetched: {fetched.text}" if fetched else "is still being fetched"
            )
            if fetched is None and kept is None:
                raise LookUpFailed(fault)
        if kept is None:
            return Finding(Method(assured=False, steps=(fault,)), seconds)
        return await self._finding(kept, hosts, seconds, *([f"{fault}; the kept policy counts"] if fault else []))

    async def refresh(self, domain: str) -> None:
        """
        Fetch a domain's kept policy anew if it is a day old, or half its life is over; never raises.

        A domain without TXT record is left alone. The one that was kept stays where the fetch fails.
        """
        try:
            kept = await self._counting(domain)
            if kept is None or self._clock() < kept.fetched + min(
                _REFRESHED_AFTER, (kept.until - kept.fetched) / 2
            ):
                return
            records = await self._records(domain, asyncio.get_running_loop().time() + self._seconds)
            identity, fault = _identity(domain, records)
            if identity is not None:
                fetched = await self._fetches.fetch(domain, identity, LEFT_ALONE)
                fault = "" if isinstance(fetched, KeptPolicy) else fetched.text if fetched else "no answer in time"
        except LookUpFailed as error:
            fault = str(error)
        if fault:
            logger.warning("an MTA-STS policy could not be refreshed", domain=domain, cause=fault)

    async def _counting(self, domain: str) -> KeptPolicy | None:
        """Give the kept policy if it still counts."""
        try:
            kept = await asyncio.to_thread(self._kept.get, domain)
            if kept is not None:
                read_policy(kept.text.encode())
        except StorageError as error:
            raise LookUpFailed(f"the kept MTA-STS policies cannot be read: {cause(error)}") from error
        except (StsError, UnicodeEncodeError) as error:
            logger.warning("a kept MTA-STS policy is passed over", domain=domain, cause=cause(error))
            return None
        return kept if kept is not None and self._clock() < kept.until else None

    async def _records(self, domain: str, ends: float) -> Records[bytes]:
        name = f"_mta-sts.{domain}"
        try:
            async with asyncio.timeout_at(ends):
                return await self._resolver.txt(name)
        except TimeoutError:
            raise LookUpFailed(f"TXT {name}: no answer in time") from None

    async def _finding(
        self, policy: KeptPolicy, hosts: asyncio.Future[MailHosts], seconds: int, *steps: str
    ) -> Finding:
        """Put what a policy says of the mail hosts."""
        left = int((policy.until - self._clock()).total_seconds())
        method = await self._method(policy, hosts, steps)
        return Finding(method, min(seconds, left))

    async def _method(self, kept: KeptPolicy, hosts: asyncio.Future[MailHosts], steps: tuple[str, ...]) -> Method:
        policy = read_policy(kept.text.encode())
        of = f"MTA-STS policy {kept.id} of {kept.domain}, fetched {kept.fetched:%Y-%m-%d %H:%M} UTC"
        if policy.mode != ASSURING:
            return Method(assured=False, steps=(*steps, f"{of}: mode {policy.mode} assures nothing"))
        names = (await asyncio.shield(hosts)).names
        allowed = policy.allowed(names)
        others = [name for name in names if name not in allowed]
        if not allowed:
            fault = f"{of}: it names none of the mail hosts ({_some(others) or 'there are none'})"
            # The policy demands what cannot be kept now: ordinary mail waits too (section 5).
            return Method(False, unknown=bool(names), steps=(*steps, f"{fault}, only {_some(policy.mx)}"))
        step = f"{of}: mode enforce, certificates for {_some(allowed)}"
        if others:
            step += f"; the mail hosts that it does not name get no mail by it: {_some(others)}"
        return Method(assured=True, policy=policy_line(allowed), steps=(*steps, step))


def _identity(domain: str, records: Records[bytes]) -> tuple[str | None, str]:
    """Give the id that DNS names, or what there is instead of one."""
    try:
        identity = read_records(records.values)
    except StsError as error:
        return None, f"the MTA-STS record of {domain} does not count: {error}"
    return identity, "" if identity else f"{domain} publishes no MTA-STS policy"


def _some(names: Iterable[str]) -> str:
    """Name the first few."""
    several = list(names)
    more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
    return ", ".join(several[:_SHOWN]) + more
