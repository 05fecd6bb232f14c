"""
The view: what conditions may look at in one message, taken from it once for all recipients and rules.

Size and finds are unknown (None) until the whole message is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatepost.decision.inbound import Inbound
from gatepost.decision.signing import Signing
from gatepost.message import subject
from gatepost.message.field import Field, named
from gatepost.message.subject import Tags
from gatepost.message.transaction import Transaction


@dataclass(frozen=True, slots=True)
class View:
    """
    One message as rules see it.

    `sender` is the envelope sender in lower case, `<>` for the null sender. `tags` holds the subject tags that
    were found, as configured. `outside` counts the recipients with direction out. `size` is in octets, header
    and body. `finds` gives the number of finds of each detector. `encrypted` tells that the message is truly
    encrypted already: computed from packets, never from a label. `requiretls` tells that the sender asked for
    verified TLS on the whole way (RFC 8689 section 2). `inbound` tells, of a
    message from outside for inside recipients, how it came and what its sender's partner rows ask. `signing` tells
    how it may be signed.
    """

    sender: str
    authenticated: bool = False
    subjects: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    tags: frozenset[str] = frozenset()
    outside: int = 0
    size: int | None = None
    finds: Mapping[str, int] | None = None
    encrypted: bool = False
    requiretls: bool = False
    inbound: Inbound | None = None
    signing: Signing = field(default_factory=Signing)
    _headers: dict[bytes, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        transaction: Transaction,
        tags: Tags,
        *,
        outside: int,
        complete: bool = True,
        finds: Mapping[str, int] | None = None,
        encrypted: bool = False,
        inbound: Inbound | None = None,
    ) -> "View":
        """Take the view of a transaction; `complete` tells that the body is there, so that the size is known."""
        fields = transaction.fields
        subjects = tuple([subject.decode(item.value) for item in named(fields, b"subject")])
        return cls(
            sender=str(transaction.sender).lower(),
            authenticated=bool(transaction.client.authenticated),
            subjects=subjects,
            fields=fields,
            tags=frozenset([match.tag for text in subjects for match in subject.tags_in(text, tags)]),
            outside=outside,
            size=_octets(transaction) if complete else None,
            finds=finds,
            encrypted=encrypted,
            requiretls=transaction.requiretls,
            inbound=inbound,
        )

    def completed(self, transaction: Transaction) -> "View":
        """Give the view now that the whole message is there: its size is known."""
        return View(
            sender=self.sender,
            authenticated=self.authenticated,
            subjects=self.subjects,
            fields=self.fields,
            tags=self.tags,
            outside=self.outside,
            size=_octets(transaction),
            finds=self.finds,
            encrypted=self.encrypted,
            requiretls=self.requiretls,
            inbound=self.inbound,
            signing=self.signing,
            _headers=self._headers,
        )

    def header(self, name: bytes) -> tuple[str, ...]:
        """Give every value of the field, decoded; `name` in lower case."""
        if name not in self._headers:
            named = (item.value for item in self.fields if item.key == name)
            self._headers[name] = tuple(subject.decode(value) for value in named)
        return self._headers[name]


def _octets(transaction: Transaction) -> int:
    """Count the message as it stands on the wire: a colon and CRLF to each field, CRLF at each fold."""
    octets = 2 + transaction.body.size
    for item in transaction.fields:
        octets += len(item.name) + len(item.value) + item.value.count(b"\n") + 3
    return octets
