"""
Edits, performed through the milter protocol in the one order that Postfix takes.

Header and envelope first, the body last and in one run: any other request between two pieces of a body makes
Postfix give the message up (milter8.c, body_edit_lockout). Nothing here can fail half-way without the verdict
becoming a tempfail, which makes the mail server forget every edit.
"""

from typing import Protocol

from gatepost.gateway.verdict import Accept
from gatepost.message.address import Address
from gatepost.message.body import Body
from gatepost.message.edit import Append, Change, Edit, Prepend

_BODY_PIECE = 65535  # MILTER_CHUNK_SIZE: what one replacement request may carry
_BELOW_RECEIVED = 1  # insheader counts the mail server's own Received field as number 0


class MailServer(Protocol):
    """What a mail server lets a milter do at the end of a message; texts are UTF-8 encodable."""

    def addheader(self, field: str, value: str, idx: int = -1) -> object:
        """Put a field at a place in the header, or below all others."""

    def chgheader(self, field: str, idx: int, value: str | None) -> object:
        """Change the idx-th field of that name, or delete it."""

    def delrcpt(self, rcpt: str) -> object:
        """Take a recipient off; RCPT's exact bytes."""

    def chgfrom(self, sender: str, params: str | None = None) -> object:
        """Change the sender or its ESMTP parameters."""

    def replacebody(self, body: bytes) -> object:
        """Put the next piece of a new body."""


def perform(server: MailServer, accept: Accept, sender: Address) -> None:
    """Perform all edits of one accepted message."""
    # A mail server may or may not count deleted fields: from the last to the first, both mean the same.
    for edit in sorted(accept.form.edits, key=_last_first):
        _edit_field(server, edit)
    if accept.headers_only_bounces:
        server.chgfrom(_text(sender.raw), "RET=HDRS")
    for removed in accept.removed:
        # Postfix compares byte for byte with what RCPT said and tells nobody when nothing matches.
        server.delrcpt(_text(removed.raw))
    if accept.form.body is not None:
        _replace(server, accept.form.body)


def _last_first(edit: Edit) -> int:
    return -edit.index if isinstance(edit, Change) else 0


def _edit_field(server: MailServer, edit: Edit) -> None:
    name = edit.name.decode("ascii")
    match edit:
        case Change():
            server.chgheader(name, edit.index, None if edit.value is None else _text(edit.value))
        case Prepend():
            server.addheader(name, _text(edit.value), _BELOW_RECEIVED)
        case Append():
            server.addheader(name, _text(edit.value))


def _replace(server: MailServer, body: Body) -> None:
    """Give the new body in as few pieces as can be: the mail server wakes up for each."""
    waiting = bytearray()
    for chunk in body.chunks():
        waiting += chunk
        while len(waiting) > _BODY_PIECE:
            server.replacebody(bytes(waiting[:_BODY_PIECE]))
            del waiting[:_BODY_PIECE]
    server.replacebody(bytes(waiting))


def _text(raw: bytes) -> str:
    """Give text for the binding, which writes it as UTF-8: other 8-bit octets are read as Latin-1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
