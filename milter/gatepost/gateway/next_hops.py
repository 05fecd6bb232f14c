"""
The next hops of one message: whether its copies may go there by TLS.

Each hop is asked about once, in the background, from the end of the header on; the answers are waited for at the
end of the message. Mail that goes over TLS goes past the mail server's own routing: so a domain that is routed
elsewhere, and whose partner row names no next hop, takes no TLS.
"""

from collections.abc import Callable

from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.errors import RouteError
from gatepost.message.address import Address
from gatepost.transport.capability import Capabilities, Pending

_BY = {"partner": "the partner row", "dane": "DANE", "mta-sts": "MTA-STS"}


Routes = Callable[[tuple[Address, Address]], str]
"""
The mail server's routing: tells, in a clause, by what mail of a sender to a recipient goes elsewhere than to the
domain's own mail hosts; empty if it does not. Thread-safe; raises RouteError.
"""


class NextHops:
    """The next hops of one message, in one thread at a time. What nobody waits for is dropped with the message."""

    def __init__(self, capabilities: Capabilities, routes: Routes, sender: Address) -> None:
        self._capabilities = capabilities
        self._routes = routes
        self._sender = sender
        self._asked: dict[str, Pending] = {}

    def begin(self, facts: RecipientFacts) -> None:
        """Ask about a recipient's next hop, unless TLS cannot be used there anyway."""
        found = self._of(facts)
        if isinstance(found, str):
            self._pending(found)

    def rung(self, facts: RecipientFacts) -> Rung:
        """Tell whether the recipient's copy may go over TLS; waits for the answer, to its deadline at most."""
        found = self._of(facts)
        if isinstance(found, Rung):
            return found
        capability = self._pending(found).wait()
        steps = "; ".join(capability.steps) or "no TLS is assured"
        if capability.assured:
            return Rung(True, f"assured by {_BY.get(capability.by, capability.by)}: {steps}", nexthop=found)
        return Rung(False, steps, nexthop=found, unknown=capability.unknown)

    def _pending(self, hop: str) -> Pending:
        pending = self._asked.get(hop)
        if pending is None:
            pending = self._asked[hop] = self._capabilities.begin(hop)
        return pending

    def _of(self, facts: RecipientFacts) -> str | Rung:
        """Give the next hop, or a rung that tells why TLS cannot be used."""
        address = facts.recipient.address
        if facts.partner is not None and facts.partner.nexthop:
            return facts.partner.nexthop
        if not address.domain:
            return Rung(False, "the address has no domain")
        try:
            detour = self._routes((self._sender, address))
        except RouteError as error:
            return Rung(False, str(error), nexthop=address.domain, unknown=True)
        if not detour:
            return address.domain
        remedy = f"`gatepost partner set {address.domain} --nexthop HOST` names the one to verify"
        return Rung(False, f"the mail server sends mail for {address.domain} elsewhere ({detour}); {remedy}")
