"""
A rehearsal: the transaction that a message would make, for `explain`, which decides and sends nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from gatepost.message import address
from gatepost.message.address import Address
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Site
from gatepost.message.field import Field
from gatepost.message.read import split
from gatepost.message.transaction import Came, Client, Recipient, Transaction

_STRANGER = "192.0.2.1"  # RFC 5737: nobody's address, so no internal network holds it


def rehearse(
    raw: bytes,
    *,
    site: Site,
    sender: str,
    recipients: Sequence[str],
    subject: str | None = None,
    client: Client | None = None,
    came: Came = Came.PLAIN,
) -> Transaction:
    """
    Make the transaction of a message; `subject` takes the place of the file's. Where there is no message, its
    sender stands in From.

    Without a client, a sender in the internal domains counts as authenticated, any other as an outside client;
    `came` tells how it came.
    Raises AddressError for an address that the milter would refuse.
    """
    fields, body = split(raw)
    if subject is not None:
        fields = (
            *(one for one in fields if one.key != b"subject"),
            Field(b"Subject", b" " + subject.encode("utf-8")),
        )
    author = address.parse(_bracketed(sender))
    if not raw and not author.is_null:
        fields = (Field(b"From", b" " + _bracketed(sender)), *fields)
    return Transaction(
        client=replace(client or _client(author, site), came=came),
        sender=author,
        parameters=(),
        recipients=tuple(Recipient(address.parse(_bracketed(one))) for one in recipients),
        fields=fields,
        body=MemoryBody(body),
    )


def _client(sender: Address, site: Site) -> Client:
    ours = bool(sender.domain) and site.is_internal_domain(sender.domain)
    return Client(address=_STRANGER, authenticated=sender.text if ours else "")


def _bracketed(text: str) -> bytes:
    return (text if text.startswith("<") else f"<{text}>").encode("utf-8", "surrogateescape")
