"""
What a receiver's bytes say about one recipient's copy, in the same words in which it was expected.

Rules:
  * Only what receivers got, gpg's own judgement and Postfix's queue count; nothing that Gatepost says of itself.
  * A copy is as expected only if its form equals the expected one in every part.
  * Content is compared byte for byte: the fields of the content and the whole body.
"""

import quopri
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.gpg import Gpg
from lab.letter import signed_parts
from lab.sink import Received
from lab.smime import Smime

CLEAR = "in clear"
CLOSED = "OpenPGP, not opened"
AS_WRITTEN = "content byte for byte"
NOTICE = "a notice, without the content"


@dataclass(frozen=True, slots=True)
class Form:
    """How one recipient's copy looks: the way it came, its subjects, its content, its Gatepost-Result fields."""

    way: str
    subjects: tuple[str, ...] = ()
    content: str = ""
    results: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Give it for people, a line for each part."""
        lines = [self.way, *(f"Subject: {subject}" for subject in self.subjects)]
        if self.content:
            lines.append(self.content)
        return lines + [f"Gatepost-Result: {_short(result)}" for result in self.results]


NOTHING = Form("nothing")
WAITING = Form("nothing; waits in Postfix's queue")


@dataclass(frozen=True, slots=True)
class Content:
    """What an entitled reader must find: the Content-Type as written, the body, and a word of the body."""

    kind: str
    body: bytes
    word: bytes


@dataclass(frozen=True, slots=True)
class Eye:
    """Looks at arrivals with the outside world's keys; `owners` names the owner of each OpenPGP fingerprint."""

    gpg: Gpg
    smime: Smime
    owners: Mapping[str, str]
    authserv_id: str

    def look(self, messages: Sequence[Received], content: Content) -> Form:
        """Give the form of one recipient's copy; there must be exactly one message."""
        if not messages:
            return NOTHING
        if len(messages) > 1:
            return Form(f"{len(messages)} times, not once")
        (message,) = messages
        subjects, results = tuple(message.values("Subject")), self._results(message)
        if message.sender == "":
            return Form(CLEAR, subjects, NOTICE if content.word not in message.data else "content leaked", results)
        way, head, body = self._opened(message, content)
        if message.tls is not None:
            way += f" inside {message.tls.version}"
        return Form(way, subjects, _compared(head, body, content), results)

    def _opened(self, message: Received, content: Content) -> tuple[str, list[str], bytes]:
        """Give the way it came, and the Content-Type and body that a reader sees."""
        kind = message.values("Content-Type")
        if any(value.startswith("application/pkcs7-mime") for value in kind):
            return self._opened_smime(message, content)
        if not any(value.startswith("multipart/encrypted") for value in kind):
            return CLEAR, kind, message.body
        if content.word in message.data:
            return "labelled OpenPGP, but readable", kind, message.body
        try:
            opened = self.gpg.decrypt(message.data)
        except RuntimeError:
            return CLOSED, kind, message.body
        owner, keys = self.owners.get(opened.key, opened.key), self.gpg.recipients(message.data)
        way = f"OpenPGP for {owner}" if keys == 1 else f"OpenPGP for {owner} and {keys - 1} more"
        return self._unsigned(way, opened.data)

    def _opened_smime(self, message: Received, content: Content) -> tuple[str, list[str], bytes]:
        readers = self.smime.readers(message.data, self.smime.addresses)
        if len(readers) != 1 or content.word in message.data:
            return f"S/MIME, opened by {', '.join(readers) or 'nobody'}", [], message.body
        return self._unsigned(f"S/MIME for {readers[0]}", self.smime.decrypt(message.data, readers[0]))

    def _unsigned(self, way: str, entity: bytes) -> tuple[str, list[str], bytes]:
        """
        Take an OpenPGP signature off what was opened, if there is one, which gpg must find good; and the transfer
        encoding that a text got for it.
        """
        head, _, body = entity.partition(b"\r\n\r\n")
        if (_kinds(head) or [""])[0].startswith("multipart/signed"):
            signed, signature = signed_parts(entity)
            signers = [self.owners.get(one, one) for one in self.gpg.verify(signed, signature)]
            way += f", signed by {signers[0]}" if signers else ", with a wrong signature"
            head, _, body = signed.partition(b"\r\n\r\n")
            if b"Content-Transfer-Encoding: quoted-printable" in head:
                body = quopri.decodestring(body)
        return way, _kinds(head), body

    def _results(self, message: Received) -> tuple[str, ...]:
        values = message.values("Gatepost-Result")
        return tuple(value.removeprefix(f"{self.authserv_id}; ") for value in values)


def _kinds(head: bytes) -> list[str]:
    return re.findall(r"(?im)^content-type:\s*(.*?)\r?$", head.decode("utf-8", "replace"))


def _compared(kind: Sequence[str], body: bytes, content: Content) -> str:
    """Tell whether the content is what was written; a letter may have no Content-Type."""
    if body != content.body:
        return "content changed"
    return AS_WRITTEN if (kind or [""])[0] == content.kind else f"content intact, but its type is {kind}"


def _short(text: str) -> str:
    """Shorten fingerprints for people."""
    return re.sub(r"\b[0-9A-F]{32}([0-9A-F]{8})\b", r"…\1", text)
