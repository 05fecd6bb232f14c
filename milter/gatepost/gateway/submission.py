"""
A copy on its way to the re-injection listener, and the port that submits it.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from gatepost.gateway.budget import Budget
from gatepost.message.address import Address
from gatepost.message.body import Body
from gatepost.message.edit import Form, apply
from gatepost.message.field import Field
from gatepost.message.transaction import Recipient, Transaction, asks_requiretls

_KEPT = ("BODY", "SMTPUTF8", "RET", "ENVID", "REQUIRETLS")


@dataclass(frozen=True, slots=True)
class Submission:
    """
    One copy: envelope, header and body, ready to go.

    `tls_route` sends it to the listener whose mail leaves by the TLS transport alone.
    """

    sender: Address
    parameters: tuple[str, ...]
    recipients: tuple[Recipient, ...]
    fields: tuple[Field, ...]
    body: Body
    tls_route: bool = False

    @property
    def requiretls(self) -> bool:
        """Whether the sender asked for verified TLS on the whole way (RFC 8689 section 2)."""
        return asks_requiretls(self.parameters)


class Submitter(Protocol):
    """Submits copies. Thread-safe; raises DeliveryError unless it is durable for all its recipients."""

    def submit(self, submission: Submission, budget: Budget) -> str:
        """Submit one copy; gives the queue ID that the mail server named, or its reply."""


def submission_of(
    transaction: Transaction,
    recipients: tuple[Recipient, ...],
    form: Form,
    *,
    tls_route: bool,
    headers_only: bool,
) -> Submission:
    """
    Make the submission of one copy: the ESMTP parameters of the original travel with it (RFC 3461).

    It goes where the site's aliases lead: the listeners look nothing up.
    """
    parameters = tuple(
        parameter for parameter in transaction.parameters if parameter.partition("=")[0].upper() in _KEPT
    )
    if headers_only:
        parameters = (*(one for one in parameters if not one.upper().startswith("RET=")), "RET=HDRS")
    return Submission(
        sender=transaction.sender,
        parameters=parameters,
        recipients=_ends(recipients),
        fields=apply(transaction.fields, form.edits),
        body=transaction.body if form.body is None else form.body,
        tls_route=tls_route,
    )


def _ends(recipients: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    """Put in the place of each recipient those to whom its aliases lead, none twice."""
    found: dict[str, Recipient] = {}
    for one in recipients:
        for end in one.targets or (one.address,):
            found.setdefault(end.text, replace(one, address=end))
    return tuple(found.values())
