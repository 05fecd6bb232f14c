"""
The service address: whoever of us forwards an encrypted message there gets it back opened.

Each attached message, or the one that was redirected there whole, is processed as if it had just come in for
whoever forwarded it, and for nobody else: with this one's own keys, and with those of the domain only if it once
came in for this one. What is opened goes to the envelope sender, who must be one of us, from a null sender. One
notice tells of what is not opened, in the same words whatever the reason. The request itself goes nowhere. Nothing
is given back twice: each message has its entry in the journal, as copies have.
"""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.inbound import Inbound
from gatepost.decision.plan import Answer, Copy, Judgement, Plan
from gatepost.errors import AddressError
from gatepost.gateway import forwarded
from gatepost.gateway.arrival import Arrivals
from gatepost.gateway.budget import Budget
from gatepost.gateway.despatch import Despatch, Outgoing
from gatepost.gateway.journal import Attempt, Journal
from gatepost.gateway.notices import Notices, is_automatic
from gatepost.gateway.room import Room
from gatepost.gateway.survey import Survey
from gatepost.gateway.telling import Telling
from gatepost.gateway.verdict import Awaited, Discard, Reject, Verdict
from gatepost.message import address as addresses
from gatepost.message.address import NULL_SENDER, Address
from gatepost.message.author import author
from gatepost.message.body import Body, Spool
from gatepost.message.direction import Direction, Site
from gatepost.message.field import Field, named, unfold
from gatepost.message.transaction import Client, Recipient, Transaction

_MOST = 20  # messages in one request
_ENVELOPE = frozenset({b"delivered-to", b"x-original-to", b"return-path"})  # of the first delivery, read as loops
_WORD = re.compile(rb"[^\s<>,;:\"()]+@[^\s<>,;:\"()]+")
_PARAMETERS = ("BODY=8BITMIME",)

TITLE = "What you forwarded could not be opened"


class Mail(Protocol):
    """All other mail; the port that the mail server's side asks."""

    def check_recipient(self, recipient: Address) -> None:
        """Raise AddressError for a recipient that is refused."""

    def survey(self, transaction: Transaction) -> Survey:
        """Gather what is known at the end of the header."""

    def process(self, transaction: Transaction, survey: Survey, budget: Budget) -> Verdict | Awaited:
        """Decide about one message and carry it out up to the edits."""


class Service:
    """Answers what is forwarded to the service addresses, and hands all other mail on. Thread-safe."""

    def __init__(
        self,
        *,
        addresses: frozenset[str],
        site: Site,
        mail: Mail,
        inside: Callable[[Address], tuple[Address, ...]],
        arrivals: Arrivals,
        journal: Journal,
        despatch: Despatch,
        notices: Notices,
        telling: Telling,
        directory: Path | None = None,
    ) -> None:
        """
        Take the service addresses in lower case, none where there is no service; what tells where the aliases of
        an inside address end inside; and the directory in which large messages are spooled.
        """
        self._addresses = addresses
        self._site = site
        self._mail = mail
        self._inside = inside
        self._arrivals = arrivals
        self._journal = journal
        self._despatch = despatch
        self._notices = notices
        self._telling = telling
        self._directory = directory
        self._room = Room()

    def check_recipient(self, recipient: Address, client: Client) -> None:
        """Refuse what is refused anyhow, and a service address to clients outside; raises AddressError."""
        self._mail.check_recipient(recipient)
        if self._is_service(recipient) and not self._site.is_inside(client):
            raise AddressError("it takes mail from inside this site only")

    def survey(self, transaction: Transaction) -> Survey:
        """Gather what is known at the end of the header."""
        survey = self._mail.survey(transaction)
        return replace(survey, needs_body=True) if self._asked(transaction) is not None else survey

    def process(self, transaction: Transaction, survey: Survey, budget: Budget) -> Verdict | Awaited:
        """Decide about one message and carry it out up to the edits."""
        service = self._asked(transaction)
        if service is None:
            return self._mail.process(transaction, survey, budget)
        return self._serve(transaction, service, budget)

    def _asked(self, transaction: Transaction) -> Recipient | None:
        """Give the service address that one of us wrote to."""
        if not self._addresses or not self._site.is_inside(transaction.client):
            return None
        return next((one for one in transaction.recipients if self._is_service(one.address)), None)

    def _is_service(self, address: Address) -> bool:
        return address.text.lower() in self._addresses

    def _serve(self, request: Transaction, service: Recipient, budget: Budget) -> Verdict:
        started = time.monotonic()
        ends = self._inside(request.sender) if self._site.is_internal(request.sender) else ()
        refusal = self._refusal(request, service, ends)
        found = () if refusal else self._found(request, budget)
        if len(found) > _MOST:
            refusal = f"More than {_MOST} messages are attached: send fewer at a time"
        if refusal:
            self._record(request, service, Answer.REJECT, refusal, started)
            return Reject((refusal,))
        whom = Recipient(request.sender, targets=() if ends == (request.sender,) else ends)
        with ExitStack() as stack:
            attempts = [
                stack.enter_context(self._journal.part(request, number, budget)) for number in range(len(found))
            ]
            given = [
                self._give_back(replace(one, recipients=(whom,)), service, attempt, budget)
                for one, attempt in zip(found, attempts, strict=True)
            ]
            for attempt in attempts:
                attempt.settle()
        opened, total = sum(given), len(given)
        if opened < total or not total:
            notice = self._notices.about(request, TITLE, _text(service.address, opened, total))
            self._telling.tell(notice, budget, request.queue_id)
        self._record(request, service, Answer.DISCARD, f"{opened} of {total} messages were opened", started)
        return Discard()

    def _refusal(self, request: Transaction, service: Recipient, ends: tuple[Address, ...]) -> str:
        """Tell why nothing is answered, and what to do; empty where it is."""
        sender = request.sender
        if len(request.recipients) > 1:
            return f"Write to {service.address.text} alone: the message was sent to nobody"
        if is_automatic(request) or self._is_service(sender):
            return f"{service.address.text} answers people only; forward the message to it as an attachment"
        if not self._site.is_internal_domain(sender.domain):
            return f"{service.address.text} answers addresses of this site only, and {sender.text} is none"
        return "" if ends else f"{service.address.text} answers inside only, and {sender.text} may lead outside"

    def _found(self, request: Transaction, budget: Budget) -> tuple[Transaction, ...]:
        """Give the messages to be opened: the request itself if it was redirected, else those attached to it."""
        if self._arrivals.is_encrypted(request, budget):
            return (_came_in(request, request.fields, request.body),)
        with self._room.to_read(request.body, budget):
            entities = forwarded.attached(request.fields, request.body.read())
            return tuple([_came_in(request, fields, self._spooled(body)) for fields, body in entities])

    def _spooled(self, data: bytes) -> Body:
        spool = Spool(self._directory)
        spool.write(data)
        return spool

    def _give_back(self, message: Transaction, service: Recipient, attempt: Attempt, budget: Budget) -> bool:
        """Open one message and send it to whoever forwarded it; tell whether that was done, now or before."""
        started = time.monotonic()
        entry = attempt.find()
        if entry is not None and all(one.done for one in entry.progress):
            return True
        (whom,) = message.recipients
        was_for = self._arrivals.was_for(message, whom.address, budget)
        addressed = _names(message.fields, whom.address) if was_for is None else was_for
        # Of what stands in that envelope nobody knows whom it was for
        layers = 1 if addressed else 0
        (arrival,) = self._arrivals.forms(message, (whom,), Inbound(), budget, domain_layers=layers)
        if not arrival.result.opened:
            return False
        reason = f"forwarded to {service.address.text}: {arrival.result.text()}"
        judgement = Judgement(whom, Direction.IN, Demand.NONE, (), Treatment.PASS, (reason,))
        plan = Plan(Answer.DISCARD, (judgement,), (Copy(Treatment.PASS, (whom,), "", in_place=False),))
        outgoing = (Outgoing((whom,), arrival.form, result=arrival.result, without_sender=True),)
        self._despatch.release(message, plan, outgoing, budget, attempt, started=started, answer="return")
        return True

    def _record(
        self, request: Transaction, service: Recipient, answer: Answer, reason: str, started: float
    ) -> None:
        treatment = Treatment.REJECT if answer is Answer.REJECT else Treatment.PASS
        judgement = Judgement(service, Direction.INTERNAL, Demand.NONE, (), treatment, (reason,))
        self._despatch.record(request, Plan(answer, (judgement,), ()), started=started, answer=answer.value)


def _came_in(request: Transaction, fields: Iterable[Field], body: Body) -> Transaction:
    """Give a forwarded message as it came in, without the traces of its first delivery."""
    kept = tuple(field for field in fields if field.key not in _ENVELOPE)
    return replace(request, sender=_sender(kept), parameters=_PARAMETERS, fields=kept, body=body)


def _sender(fields: tuple[Field, ...]) -> Address:
    try:
        return addresses.parse(author(fields).encode("utf-8", "surrogateescape"))
    except AddressError:
        return NULL_SENDER


def _names(fields: Iterable[Field], address: Address) -> bool:
    """Tell whether To or Cc name an address."""
    fields = tuple(fields)
    wanted = address.text.lower().encode("utf-8", "surrogateescape")
    values = (unfold(one.value).lower() for name in (b"to", b"cc") for one in named(fields, name))
    return any(wanted == word for value in values for word in _WORD.findall(value))


def _text(service: Address, opened: int, total: int) -> str:
    if total:
        left = total - opened
        first = f"Of {total} messages that you forwarded to {service.text}, {left} could not be opened for you."
    else:
        first = f"No message was attached to what you sent to {service.text}."
    lines = [
        first,
        "",
        "A message can be opened if it was sent to you, is encrypted with a key that this site holds for you or",
        "for all of us, and is as it came. Forward it as an attachment, one or several: a text that is quoted in",
        "a mail cannot be opened.",
        "",
        "Those that could be opened come as mail of their own.",
        "",
        "This notice was made by the mail gateway; nobody reads replies to it.",
    ]
    return "\n".join(lines) + "\n"
