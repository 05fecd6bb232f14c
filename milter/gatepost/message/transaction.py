"""
A transaction: one message under way, exactly as received.

Values only; whoever receives the message (a milter session, the command line) builds one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from gatepost.message.address import Address
from gatepost.message.body import Body
from gatepost.message.field import Field, named
from gatepost.message.message_id import named_in


class Came(StrEnum):
    """How a message came over the connection that handed it in."""

    PLAIN = "plain"
    TLS = "tls"
    VERIFIED = "verified"  # by TLS, from a client whose certificate the mail server trusts


@dataclass(frozen=True, slots=True)
class Client:
    """Who hands the message in. Empty text where the mail server did not say."""

    address: str = ""
    name: str = ""
    listener: str = ""  # macro {daemon_name}: the smtpd service that took the connection
    authenticated: str = ""  # macro {auth_authen}: the SASL login name
    came: Came = Came.PLAIN
    certificate: str = ""  # macro {cert_subject}: the common name in a certificate that is trusted


@dataclass(frozen=True, slots=True)
class Recipient:
    """
    One RCPT command: the address and its ESMTP parameters, as given.

    With `alias`, the address of a RCPT command, it is one of those to whom the site's aliases lead from there;
    it does not stand in the envelope. `tied` tells that it is an inside address behind which some go outside and
    some do not, or nobody knows, and that nothing can part them; those outside that are known are `leads_to`.
    `targets` are where the site's aliases lead if all of them are inside and others than the address itself.
    """

    address: Address
    parameters: tuple[str, ...] = ()
    alias: Address | None = None
    tied: bool = False
    leads_to: tuple[Address, ...] = field(default=(), compare=False)
    targets: tuple[Address, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message: envelope, header and body, as received; `queue_id` names it in logs."""

    client: Client
    sender: Address
    parameters: tuple[str, ...]  # ESMTP parameters of MAIL, as given
    recipients: tuple[Recipient, ...]
    fields: tuple[Field, ...]
    body: Body
    queue_id: str = ""

    @property
    def requiretls(self) -> bool:
        """Whether the sender asked for verified TLS on the whole way (MAIL parameter, RFC 8689 section 2)."""
        return asks_requiretls(self.parameters)

    @property
    def message_ids(self) -> tuple[str, ...]:
        """Every Message-ID that it bears, with angle brackets: one, but for messages of a careless make."""
        return named_in(named(self.fields, b"message-id"))

    @property
    def message_id(self) -> str:
        """The first Message-ID with its angle brackets, for people; or empty."""
        return next(
            (one.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for one in self.message_ids), ""
        )


def asks_requiretls(parameters: Iterable[str]) -> bool:
    """Tell whether the parameters of a MAIL command hold REQUIRETLS."""
    return any(parameter.upper() == "REQUIRETLS" for parameter in parameters)
