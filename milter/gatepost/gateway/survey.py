"""
The survey: what the directory knows about a message's recipients, gathered once, at the end of the header.

Partner rows and threads are asked for every message; next hops and keys only where something is demanded or may
be.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gatepost.crypto.certificate import Reader
from gatepost.crypto.certification import NO_AUTHORITIES, Certification
from gatepost.decision.demand import PROTECTING, Demand, Treatment
from gatepost.decision.facts import RecipientFacts, Rung
from gatepost.decision.inbound import Inbound
from gatepost.decision.view import View
from gatepost.directory.key import Key, Keys, Trust
from gatepost.directory.partner import Partner, Partners
from gatepost.directory.thread import Sent, Threads, hashed
from gatepost.gateway import report
from gatepost.gateway.aliases import Aliases
from gatepost.gateway.fitness import Fitness
from gatepost.gateway.next_hops import NextHops, Routes
from gatepost.message.address import Address
from gatepost.message.direction import BEHIND, Direction, Site
from gatepost.message.field import Field
from gatepost.message.message_id import named_in
from gatepost.message.received import entered_by_tls
from gatepost.message.senders import senders
from gatepost.message.transaction import Came, Recipient, Transaction
from gatepost.transport.capability import Capabilities

_THREAD_FIELDS = frozenset({b"message-id", b"in-reply-to", b"references", b"resent-message-id"})
_TO_KEYS = {Treatment.SMIME: "certificate", Treatment.OPENPGP: "key"}
_MOST_IDS = 100  # References of a long thread; the latest matter most
_NO_RUNG_FOR_TIED = Rung(False, "cannot protect what aliases do not part")


@dataclass(frozen=True, slots=True)
class Survey:
    """
    What is known of one message at the end of its header; `needs_body` tells the milter to take the body.

    `inside` tells where the client is. `reachable` holds the recipients for whom something is or may be demanded,
    and which treatments their copies may come to; `hops` waits for what was asked about their next hops.
    """

    facts: tuple[RecipientFacts, ...]
    view: View
    needs_body: bool
    inside: bool
    hops: NextHops
    reachable: Mapping[Recipient, frozenset[str]] = field(default_factory=dict)

    def released(self) -> "Survey":
        """Give the same for a message that was held and may go now, however it came in."""
        inbound = self.view.inbound
        return self if inbound is None else replace(self, view=replace(self.view, inbound=inbound.released()))


class Surveyor:
    """Asks the directory."""

    def __init__(
        self,
        *,
        site: Site,
        aliases: Aliases,
        partners: Partners,
        keys: Keys,
        threads: Threads,
        reader: Reader,
        min_trust: Trust,
        capabilities: Capabilities,
        routes: Routes,
        certification: Certification = NO_AUTHORITIES,
    ) -> None:
        self._site = site
        self._aliases = aliases
        self._partners = partners
        self._keys = keys
        self._threads = threads
        self._fitness = Fitness(reader, certification)
        self._min_trust = min_trust
        self._capabilities = capabilities
        self._routes = routes

    def facts(self, transaction: Transaction, *, inside: bool) -> tuple[RecipientFacts, ...]:
        """
        Give partner and thread of every recipient, for a client inside or outside; no rungs yet.

        Where the site's aliases lead outside, their recipients stand in the place of the transaction's.
        """
        # What a report is about stands in its body, which is not there yet: see `returned`.
        thread = inside and not report.is_report(transaction) and self._in_other_thread(transaction)
        expanded = transaction.client.listener in BEHIND
        recipients = self._aliases.follow(transaction.recipients, expanded=expanded)
        return tuple(self._of(recipient, inside=inside, thread=thread) for recipient in recipients)

    def _of(self, recipient: Recipient, *, inside: bool, thread: bool) -> RecipientFacts:
        internal = self._site.is_ours(recipient)
        if not inside:
            return RecipientFacts(recipient, Direction.IN if internal else Direction.TRANSIT)
        if internal:
            return RecipientFacts(recipient, Direction.INTERNAL)
        return RecipientFacts(recipient, Direction.OUT, partner=self._partner(recipient), thread=thread)

    def inbound(self, transaction: Transaction) -> Inbound:
        """Tell how a message from outside came, and what the rows of its sender and of From ask."""
        found = (self._partners.find(one) for one in senders(transaction.sender, transaction.fields))
        rows = {row.pattern: row for row in found if row is not None}
        client = transaction.client
        came = client.came
        if client.listener in BEHIND:  # that step is the mail server's own
            came = Came.TLS if entered_by_tls(transaction.fields) else Came.PLAIN
        return Inbound.of(came, client.certificate, rows.values())

    def _partner(self, recipient: Recipient) -> Partner | None:
        """Give the partner row; for tied recipients the strictest of those outside."""
        if not recipient.tied:
            return self._partners.find(recipient.address)
        rows = [row for one in recipient.leads_to if (row := self._partners.find(one)) is not None]
        return max(rows, key=lambda row: Demand.of(row.demand), default=None)

    def returned(self, transaction: Transaction, *, inside: bool) -> report.Returned | None:
        """Give what a report returns of a protected message; None for all other mail."""
        if not (inside and report.is_report(transaction)):
            return None
        body = transaction.body.read()
        if not self.in_thread((*transaction.fields, *report.named_in(body))):
            return None
        return report.Returned(report.cut(transaction.fields, body) if transaction.sender.is_null else None)

    def _in_other_thread(self, transaction: Transaction) -> bool:
        """Tell whether it belongs to a protected thread that was there before this message was first tried."""
        found = message_ids(transaction.fields)
        sent = Sent(hashed(next(iter(transaction.message_ids), "")), transaction.sender.text)
        return bool(found) and self._threads.known(found, sent=sent)

    def in_thread(self, fields: Iterable[Field]) -> bool:
        """Tell whether any Message-ID that the header names is of a protected thread."""
        found = message_ids(fields)
        return bool(found) and self._threads.known(found)

    def next_hops(self, transaction: Transaction) -> NextHops:
        """Give the next hops of a message, none asked about yet."""
        return NextHops(self._capabilities, self._routes, transaction.sender)

    def with_rungs(self, facts: RecipientFacts, reachable: Container[str], hops: NextHops) -> RecipientFacts:
        """Add what each treatment that may be reached can do for them; waits for what is said of the next hop."""
        if facts.recipient.tied:
            return replace(facts, rungs=dict.fromkeys(PROTECTING, _NO_RUNG_FOR_TIED))
        rungs = {kind: self._to_key(kind, facts.recipient.address) for kind in _TO_KEYS if kind in reachable}
        if Treatment.TLS in reachable:
            rungs[Treatment.TLS] = hops.rung(facts)
        return RecipientFacts(facts.recipient, facts.direction, facts.partner, facts.thread, rungs)

    def rung(self, facts: RecipientFacts, treatment: Treatment, hops: NextHops) -> Rung | None:
        """Tell what one treatment can do for this recipient; None if it is not built."""
        if facts.recipient.tied:
            return _NO_RUNG_FOR_TIED
        if treatment is Treatment.TLS:
            return hops.rung(facts)
        return self._to_key(treatment, facts.recipient.address) if treatment in _TO_KEYS else None

    def _to_key(self, kind: Treatment, address: Address) -> Rung:
        refusals = []
        usable: list[Key] = []
        for key in self._keys.find(address, kind.value):
            refusal = self._refusal(key)
            if refusal:
                refusals.append(f"{_TO_KEYS[kind]} {key.fingerprint} of {key.owner}: {refusal}")
            elif not usable or (key.owner, key.trust) == (usable[0].owner, usable[0].trust):
                usable.append(key)
        if usable:
            return Rung(True, f"{_TO_KEYS[kind]} {usable[0].fingerprint} of {usable[0].owner}", keys=tuple(usable))
        return Rung(False, "; ".join(refusals) or f"no {_TO_KEYS[kind]} for {address.text} or {address.domain}")

    def _refusal(self, key: Key) -> str:
        if key.trust < self._min_trust:
            return f"trust {key.trust.name.lower()} is below min_trust {self._min_trust.name.lower()}"
        return self._fitness.refusal(key)


def message_ids(fields: Iterable[Field]) -> tuple[bytes, ...]:
    """Hash every Message-ID that the header names."""
    found = named_in(field for field in fields if field.key in _THREAD_FIELDS)
    return tuple(map(hashed, found[-_MOST_IDS:]))
