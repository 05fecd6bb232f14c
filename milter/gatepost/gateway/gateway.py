"""
The gateway: what happens to one message, from decision to verdict.

Every copy is built before anything is sent. Then, durable first: the plan goes into the journal, held copies into
the vault, thread rows into the database, the other copies to the re-injection listener; only then comes the
verdict on the original. Whatever raises on the way leaves the original with its client (a tempfail), so nothing is
lost and nothing leaves in clear; the client's next try finishes what the journal knows of.
"""

import time
from collections.abc import Iterable
from dataclasses import replace

from gatepost.decision import engine
from gatepost.decision.demand import Treatment
from gatepost.decision.facts import RecipientFacts
from gatepost.decision.inbound import Inbound
from gatepost.decision.ladder import Ladders
from gatepost.decision.plan import Answer, Copy, Judgement, Plan
from gatepost.decision.rules import RuleSet
from gatepost.decision.view import View
from gatepost.errors import AddressError
from gatepost.gateway.arrival import Arrivals
from gatepost.gateway.budget import Budget
from gatepost.gateway.despatch import Despatch, Outgoing
from gatepost.gateway.journal import Attempt, Journal
from gatepost.gateway.metrics import UNKNOWN, UNPROTECTED
from gatepost.gateway.protection import Protection
from gatepost.gateway.report import Returned, is_report
from gatepost.gateway.resume import Rungs, rest_of
from gatepost.gateway.signing import SigningKeys, UnsignableError
from gatepost.gateway.survey import Survey, Surveyor
from gatepost.gateway.verdict import Awaited, Reject, TempFail, Verdict
from gatepost.message import address, warning
from gatepost.message.address import Address
from gatepost.message.direction import Direction, Site
from gatepost.message.edit import apply
from gatepost.message.transaction import Transaction

_PATIENCE = 90.0  # seconds to decide where nobody waits
_ROUTED = frozenset("%!@")
_CAME_IN = frozenset({Direction.IN, Direction.TRANSIT})
_STOPPING = frozenset({Treatment.REJECT, Treatment.TEMPFAIL})  # the whole message

_NOT_AS_IT_CAME = (
    "Mail from this sender is not taken as it came, and was delivered to nobody:",
    "send it over TLS (STARTTLS) or encrypted with OpenPGP or S/MIME, as was agreed",
)


class Gateway:
    """Decides about messages and carries the decisions out. Thread-safe: it keeps nothing between messages."""

    def __init__(
        self,
        *,
        site: Site,
        rules: RuleSet,
        ladders: Ladders,
        no_rung: Treatment,
        surveyor: Surveyor,
        signing: SigningKeys,
        protection: Protection,
        arrivals: Arrivals,
        journal: Journal,
        despatch: Despatch,
    ) -> None:
        self._site = site
        self._rules = rules
        self._ladders = ladders
        self._no_rung = no_rung
        self._surveyor = surveyor
        self._signing = signing
        self._protection = protection
        self._arrivals = arrivals
        self._journal = journal
        self._despatch = despatch

    def check_recipient(self, recipient: Address) -> None:
        """
        Refuse a recipient that Postfix might read, keep or route otherwise than it is judged here.

        Postfix drops a source route, blanks and comments from an address: it would be delivered to a domain that
        was not judged, and could not be taken off the message by the bytes of RCPT. Before what it takes for its
        own (one of our domains, a bare name such as `localhost`, an address literal), it may read
        `user%elsewhere` and `elsewhere!user` as `user@elsewhere`: `setup postfix` switches allow_percent_hack and
        swap_bangpath off, since other names of its own are not known here. Raises AddressError.
        """
        if recipient.is_null:
            raise AddressError("the recipient is empty")
        if not address.is_plain(recipient):
            raise AddressError("it is not plainly local@domain; write it without route, blanks and comments")
        here = self._site.is_internal(recipient) or "." not in recipient.domain or recipient.domain.startswith("[")
        if here and not _ROUTED.isdisjoint(recipient.local):
            raise AddressError("%, ! or @ in its local part names a route")

    def survey(self, transaction: Transaction) -> Survey:
        """Gather what is known at the end of the header."""
        inside = self._site.is_inside(transaction.client)
        facts = self._surveyor.facts(transaction, inside=inside)
        outside = sum(one.direction is Direction.OUT for one in facts)
        concerned = any(one.direction is Direction.IN or one.recipient.tied for one in facts)
        inbound = self._surveyor.inbound(transaction) if concerned and not inside else None
        view = View.of(transaction, self._rules.tags, outside=outside, complete=False, inbound=inbound)
        demanded = frozenset(one.recipient for one in facts if engine.may_demand(view, one, self._rules))
        if inside:
            view = replace(view, signing=self._signing.of(transaction, facts, demanded))
        needs_body = (
            is_report(transaction)
            or len({one.direction for one in facts if one.direction in _CAME_IN}) > 1  # two forms, one submitted
            or self._rules.needs_body
            or bool(demanded)
            or bool(view.signing.keys)
            or any(
                one.recipient.alias is not None  # a copy of its own is submitted
                or (one.direction is Direction.IN and self._arrivals.concerns(transaction.fields))
                for one in facts
            )
        )
        reachable = {one.recipient: self._reachable(view, one) for one in facts if one.recipient in demanded}
        hops = self._surveyor.next_hops(transaction)
        for one in facts:
            if Treatment.TLS in reachable.get(one.recipient, ()):
                hops.begin(one)
        return Survey(facts, view, needs_body, inside, hops, reachable)

    def _reachable(self, view: View, facts: RecipientFacts) -> frozenset[str]:
        """Give the treatments that the recipient's copy may come to; whom aliases do not part takes none."""
        if facts.recipient.tied:
            return frozenset()
        return engine.reachable(view, facts, self._rules, self._ladders)

    def plan(self, transaction: Transaction, survey: Survey) -> Plan:
        """Decide, without doing anything."""
        budget = Budget(_PATIENCE, keepalive=lambda: None)
        return self._plan(transaction, survey, self._surveyor.returned(transaction, inside=survey.inside), budget)

    def _plan(self, transaction: Transaction, survey: Survey, returned: Returned | None, budget: Budget) -> Plan:
        facts, view = survey.facts, survey.view.completed(transaction)
        uncut = returned is not None and returned.cut is None
        reachable = survey.reachable
        if uncut:
            facts = tuple(replace(one, thread=True) for one in facts)
            reachable = {one.recipient: self._reachable(view, one) for one in facts}
        known = []
        for one in facts:
            budget.tick()
            asked = one.direction is Direction.OUT and one.recipient in reachable
            known.append(self._surveyor.with_rungs(one, reachable[one.recipient], survey.hops) if asked else one)
        if any(one.rungs for one in known) and self._arrivals.is_encrypted(transaction, budget):
            view = replace(view, encrypted=True)
        if view.inbound is not None and view.inbound.unmet and self._arrivals.is_encrypted(transaction, budget):
            view = replace(view, inbound=replace(view.inbound, encrypted=True))
        return engine.decide(view, known, self._rules, self._ladders, self._no_rung)

    def process(self, transaction: Transaction, survey: Survey, budget: Budget) -> Verdict | Awaited:
        """Decide about one message and carry it out up to the edits of the original."""
        started = time.monotonic()
        with self._journal.attempt(transaction, budget, inside=survey.inside) as attempt:
            envelope = transaction.recipients
            transaction = _to(survey.facts, transaction)
            returned = self._surveyor.returned(transaction, inside=survey.inside)
            plan = self._plan(transaction, survey, returned, budget)
            if survey.needs_body and _may_spread(plan) and (entry := attempt.find()) is not None:
                plan = rest_of(entry, plan, self._rungs(survey))
                transaction = _to(plan.judgements, transaction)
            if plan.answer is Answer.REJECT:
                self._despatch.record(transaction, plan, started=started, answer="reject")
                return Reject(self._refusal(transaction, plan))
            if plan.answer is Answer.TEMPFAIL:
                return self._delay(transaction, plan)
            plan, outgoing = self._built(transaction, plan, returned, budget, inside=survey.inside)
            return self._despatch.send(
                transaction, plan, outgoing, budget, attempt, started=started, envelope=envelope
            )

    def _rungs(self, survey: Survey) -> Rungs:
        facts = {one.recipient: one for one in survey.facts}
        return lambda recipient, treatment: self._surveyor.rung(facts[recipient], treatment, survey.hops)

    def release(self, transaction: Transaction, budget: Budget, attempt: Attempt) -> tuple[Judgement, ...]:
        """
        Send a message that was held to every recipient whose copy may leave; gives what was decided for each.

        Who got a copy by an earlier try gets none; that is recorded now, as that try could not. The rules must be
        those for a release, and `no_rung` quarantine. Who is judged `reject` or `tempfail` holds up no other.
        """
        asked = set(transaction.recipients)
        earlier = tuple(one for one in attempt.submitted() if one.recipient in asked)
        if earlier:
            done = Plan(Answer.DISCARD, earlier, ())
            self._despatch.record(
                transaction, done, started=time.monotonic(), answer="release", details=attempt.details()
            )
        left = asked - {one.recipient for one in earlier}
        if not left:
            return earlier
        recipients = tuple(one for one in transaction.recipients if one in left)
        return earlier + self._release(replace(transaction, recipients=recipients), budget, attempt)

    def _release(self, transaction: Transaction, budget: Budget, attempt: Attempt) -> tuple[Judgement, ...]:
        started = time.monotonic()
        survey = self.survey(transaction).released()
        transaction = replace(transaction, recipients=tuple(one.recipient for one in survey.facts))
        returned = self._surveyor.returned(transaction, inside=survey.inside)
        plan = self._plan(transaction, survey, returned, budget)
        staying = tuple(one for one in plan.judgements if one.treatment in _STOPPING)
        if staying:
            left = tuple(one.recipient for one in plan.judgements if one.treatment not in _STOPPING)
            if not left:
                return staying
            return staying + self._release(replace(transaction, recipients=left), budget, attempt)
        plan, outgoing = self._built(transaction, plan, returned, budget, inside=survey.inside)
        self._despatch.release(transaction, plan, outgoing, budget, attempt, started=started)
        return plan.judgements

    def _built(
        self, transaction: Transaction, plan: Plan, returned: Returned | None, budget: Budget, *, inside: bool
    ) -> tuple[Plan, tuple[Outgoing, ...]]:
        """Build every copy; a message that turns out not to be one that can be signed goes unsigned if it may."""
        try:
            return plan, self._outgoing(transaction, plan, returned, budget, inside=inside)
        except UnsignableError as error:
            if self._signing.required:
                raise
            plan = plan.unsigned(str(error))
            return plan, self._outgoing(transaction, plan, returned, budget, inside=inside)

    def _outgoing(
        self, transaction: Transaction, plan: Plan, returned: Returned | None, budget: Budget, *, inside: bool
    ) -> tuple[Outgoing, ...]:
        """Build every copy that goes on; held ones go into the vault as they came."""
        built: list[Outgoing] = []
        for copy in plan.copies:
            if copy.treatment is Treatment.QUARANTINE:
                if not inside:
                    self._arrivals.remember(transaction, copy.recipients, budget)
                continue
            if inside:
                built.append(self._departing(transaction, copy, returned, budget))
            else:
                built.extend(self._arriving(transaction, copy, plan.inbound or Inbound(), budget))
        return tuple(built)

    def _departing(
        self, transaction: Transaction, copy: Copy, returned: Returned | None, budget: Budget
    ) -> Outgoing:
        for_outsiders = not all(map(self._site.is_ours, copy.recipients))
        unwarned = warning.unwarn_edits(transaction.fields) if for_outsiders else ()
        shown = replace(transaction, fields=apply(transaction.fields, unwarned)) if unwarned else transaction
        form = self._protection.form(shown, copy, budget, for_outsiders=for_outsiders)
        if unwarned:
            form = replace(form, edits=(*unwarned, *form.edits))  # of two for one field the later one counts
        if copy.treatment is Treatment.PASS and returned is not None:
            form = replace(form, body=returned.cut)
        return Outgoing(copy.recipients, form, in_place=copy.in_place, tls_route=copy.treatment is Treatment.TLS)

    def _arriving(self, transaction: Transaction, copy: Copy, inbound: Inbound, budget: Budget) -> list[Outgoing]:
        """One copy as decided may take several forms: opened for some, as it came for others."""
        ours = tuple(one for one in copy.recipients if self._site.is_ours(one))
        others = tuple(one for one in copy.recipients if not self._site.is_ours(one))
        built = []
        if others:
            passed = replace(copy, recipients=others)
            built.append(Outgoing(others, self._protection.form(transaction, passed, budget, for_outsiders=True)))
        if ours:
            arrivals = self._arrivals.forms(transaction, ours, inbound, budget)
            built.extend(Outgoing(one.recipients, one.form, result=one.result) for one in arrivals)
        built.sort(key=lambda one: one.result is not None and one.result.opened)
        return [replace(built[0], in_place=copy.in_place), *built[1:]]

    def _refusal(self, transaction: Transaction, plan: Plan) -> tuple[str, ...]:
        """Name each refused recipient and what to do; an outside client learns no more than the fact."""
        if not self._site.is_inside(transaction.client):
            return ("The message is refused by the policy of this site",)
        refused = [one for one in plan.judgements if one.treatment is Treatment.REJECT]
        return (
            "The message was sent to nobody, because it may not leave as it is:",
            *(f"{one.recipient.address.text}: {one.reasons[-1]}" for one in refused),
            "Leave these recipients out, or ask your postmaster how to write to them",
        )

    def _delay(self, transaction: Transaction, plan: Plan) -> TempFail:
        """
        Name each recipient for whom the message waits, and why; an outside client learns what would be taken.

        Mail from outside is put off for one reason only: it came otherwise than a partner's row asks.
        """
        waiting = [one for one in plan.judgements if one.treatment is Treatment.TEMPFAIL]
        if not self._site.is_inside(transaction.client):
            told = dict.fromkeys(reason for one in waiting for reason in one.reasons)
            return TempFail(_NOT_AS_IT_CAME, "4.7.1", UNPROTECTED, "; ".join(told))
        lines = (
            "The message was sent to nobody yet, try again later:",
            *(f"{one.recipient.address.text}: {'; '.join(one.reasons)}" for one in waiting),
        )
        return TempFail(lines, "4.4.3", UNKNOWN)

    def prove_alive(self) -> None:
        """Go once through what every message needs that is written; returns also where the database fails."""
        self._despatch.prove_alive()

    def close(self) -> None:
        """Write what is still to be recorded, and let the engine's processes go."""
        self._despatch.close()
        self._protection.close()


def _to(those: Iterable[RecipientFacts | Judgement], transaction: Transaction) -> Transaction:
    """Address the transaction to those recipients."""
    recipients = tuple([one.recipient for one in those])
    return transaction if recipients == transaction.recipients else replace(transaction, recipients=recipients)


def _may_spread(plan: Plan) -> bool:
    """Tell whether the message may take several forms or none, so that an earlier try may have sent part of it."""
    return len(plan.copies) != 1 or not plan.copies[0].in_place or len(plan.judgements) > 1
