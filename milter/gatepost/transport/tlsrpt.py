"""
What Postfix 3.10 and later need beside an MTA-STS policy line to report on TLS (RFC 8460, TLSRPT_README).

A Postfix that is older takes these words for a broken policy and defers the mail, so they are added only where the
site says so. Where the published policy cannot be read now, or is long, its line goes without them: reports are
worth less than mail.
"""

import asyncio

from gatepost.errors import StorageError, cause
from gatepost.log import logger
from gatepost.transport import hop as hops
from gatepost.transport.kept_policies import KeptPolicies
from gatepost.transport.mta_sts import ASSURING, StsError, StsPolicy, read_policy

_LONGEST = 20_000  # characters; Postfix takes an answer of 100,000


class PolicyReports:
    """Tells what a policy line for a next hop must bear for reports; for one event loop."""

    def __init__(self, kept: KeptPolicies) -> None:
        self._kept = kept

    async def attributes(self, hop: str) -> str:
        """Give the attributes of the next hop's MTA-STS policy, as they stand behind the line; or nothing."""
        try:
            domain = hops.read(hop).name
            kept = await asyncio.to_thread(self._kept.get, domain)
            policy = read_policy(kept.text.encode()) if kept is not None else None
        except (StorageError, StsError, ValueError) as error:
            logger.warning("reports on TLS go without the policy", hop=hop, cause=cause(error))
            return ""
        text = attributes(domain, policy) if policy is not None and policy.mode == ASSURING else ""
        return text if len(text) <= _LONGEST else ""


def attributes(domain: str, policy: StsPolicy) -> str:
    """Put a policy as attributes; braces keep a value with blanks together. Nothing but what was read goes in."""
    fields = ("version: STSv1", f"mode: {policy.mode}", *(f"mx: {one}" for one in policy.mx))
    strings = " ".join(f"{{ policy_string = {field} }}" for field in (*fields, f"max_age: {policy.max_age}"))
    patterns = " ".join(f"mx_host_pattern={one}" for one in policy.mx)
    return f"policy_type=sts policy_domain={domain} {strings} {patterns}"
