"""Messages for tests and demo, written as bytes: nothing is folded, encoded or ordered behind one's back."""

import base64
import email
import itertools
import time
from collections.abc import Sequence
from email.utils import formatdate

_numbers = itertools.count(1)
_run = f"{time.time_ns():x}"


def canary() -> str:
    """Give a word that no other message holds."""
    return f"CANARY-{_run}-{next(_numbers)}-END"


def letter(
    body: str | bytes = "Hello.\r\n",
    *,
    sender: str = "sue@hosp.test",
    to: str = "someone@plain.test",
    subject: str | bytes = "a letter",
    message_id: str | None = None,
    fields: Sequence[str | bytes] = (),
) -> bytes:
    """Write a message; each of `fields` is a whole header line without its line end."""
    own = message_id or f"<{_run}.{next(_numbers)}@{sender.rpartition('@')[2]}>"
    head: list[str | bytes] = [
        f"From: {sender}",
        f"To: {to}",
        b"Subject: " + _bytes(subject),
        f"Date: {formatdate()}",
        f"Message-ID: {own}",
        *fields,
    ]
    return b"".join(_bytes(line) + b"\r\n" for line in head) + b"\r\n" + _bytes(body)


def multipart(kind: str, *parts: bytes, boundary: str = "lab=_boundary") -> tuple[str, bytes]:
    """Give the Content-Type line of a multipart entity and its body; each part is a whole entity."""
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"', body + b"--" + boundary.encode() + b"--\r\n"


def part(content: bytes, content_type: str, *fields: str) -> bytes:
    """Give an entity whose content is in base64."""
    head = "".join(f"{line}\r\n" for line in (f"Content-Type: {content_type}", *fields))
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded


def pgp_mime(ciphertext: bytes) -> tuple[str, bytes]:
    """Give the Content-Type line and the body of a PGP/MIME encrypted message (RFC 3156 section 4)."""
    line, body = multipart(
        "encrypted",
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
        b"Content-Type: application/octet-stream\r\n\r\n"
        + ciphertext.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        boundary="lab=_pgp",
    )
    return f'{line}; protocol="application/pgp-encrypted"', body


def signed_parts(message: bytes) -> tuple[bytes, bytes]:
    """Give the signed entity of a multipart/signed message, to the octet, and the signature, decoded."""
    parsed = email.message_from_bytes(message)
    mark = b"\r\n--" + str(parsed.get_boundary()).encode()
    signature = parsed.get_payload(1).get_payload(decode=True)  # type: ignore[union-attr]
    if not isinstance(signature, bytes):
        raise TypeError("the second part of multipart/signed is no signature")
    return message.split(mark, 2)[1].removeprefix(b"\r\n"), signature


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
