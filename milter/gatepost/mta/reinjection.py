"""
Re-injection: copies are submitted to our own listeners of the mail server, over TLS with our client certificate.

Connections are kept open and shared; one that has gone stale is replaced before the transaction begins, never
inside it, so no copy is sent twice by us. A copy counts as sent when every recipient was accepted and the reply
to the final dot was 250; where that reply was lost, the error says so. RFC 5321 section 4.1.1.4, RFC 1047.
STARTTLS is not used: the listeners speak TLS from the start. A copy whose sender asked for REQUIRETLS goes only to
a listener that offers it (RFC 8689 section 4.2.1): another would forget the request.
"""

import smtplib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import DeliveryError
from gatepost.gateway.budget import Budget
from gatepost.gateway.submission import Submission
from gatepost.message.transaction import Recipient

_MOST_IDLE = 20
_OK = 250
_GO_ON = 354
_REFUSALS = range(400, 600)


class _NotOfferedError(OSError):
    """The listener does not offer what the copy needs."""


class _ReplyLostError(OSError):
    """The final dot was sent, but what came of it is not known."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a listener is."""

    host: str
    port: int


class Reinjection:
    """Submits copies to the two listeners; an implementation of `Submitter`."""

    def __init__(
        self,
        *,
        plain: Listener,
        tls: Listener,
        hostname: str,
        client_certificate: Path,
        listener_certificate: Path,
    ) -> None:
        self._listeners = {False: plain, True: tls}
        self._hostname = hostname
        self._client_certificate = client_certificate
        self._listener_certificate = listener_certificate
        self._context: ssl.SSLContext | None = None
        self._idle: dict[Listener, list[smtplib.SMTP_SSL]] = {plain: [], tls: []}
        self._lock = threading.Lock()

    def submit(self, submission: Submission, budget: Budget) -> str:
        """Submit one copy; gives what the listener called it, or raises DeliveryError, WorkerError."""
        listener = self._listeners[submission.tls_route]
        try:
            connection = self._connection(listener, budget)
            try:
                _check_offer(connection, submission)
                reply = _send(connection, submission, budget)
            except BaseException:
                connection.close()
                raise
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryError(
                f"the re-injection listener {listener.host}:{listener.port} did not take a copy: {_text(error)}",
                uncertain=isinstance(error, _ReplyLostError),
            ) from error
        self._give_back(listener, connection)
        return reply

    def _connection(self, listener: Listener, budget: Budget) -> smtplib.SMTP_SSL:
        while (idle := self._take(listener)) is not None:
            if _alive(idle, budget):
                return idle
            idle.close()
        connection = smtplib.SMTP_SSL(
            listener.host,
            listener.port,
            local_hostname=self._hostname,
            timeout=budget.for_waiting(),
            context=self._tls(),
        )
        connection.ehlo()
        return connection

    def _take(self, listener: Listener) -> smtplib.SMTP_SSL | None:
        with self._lock:
            idle = self._idle[listener]
            return idle.pop() if idle else None

    def _give_back(self, listener: Listener, connection: smtplib.SMTP_SSL) -> None:
        with self._lock:
            if len(self._idle[listener]) < _MOST_IDLE:
                self._idle[listener].append(connection)
                return
        connection.close()

    def _tls(self) -> ssl.SSLContext:
        """Trust the listeners' own certificate and no other; made when first needed."""
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # the one trusted certificate is compared whole
            context.load_verify_locations(self._listener_certificate)
            context.load_cert_chain(self._client_certificate)
            self._context = context
        return self._context


def _alive(connection: smtplib.SMTP_SSL, budget: Budget) -> bool:
    try:
        _limit(connection, budget)
        code, _ = connection.noop()
    except (smtplib.SMTPException, OSError):
        return False
    return code == _OK


def _limit(connection: smtplib.SMTP_SSL, budget: Budget) -> None:
    if connection.sock is not None:
        connection.sock.settimeout(budget.left())


def _check_offer(connection: smtplib.SMTP_SSL, submission: Submission) -> None:
    if submission.requiretls and not connection.has_extn("requiretls"):
        raise _NotOfferedError(
            "its sender asked for REQUIRETLS, which the listener does not offer; it needs Postfix 3.11 with "
            "requiretls_enable = yes"
        )


def _send(connection: smtplib.SMTP_SSL, submission: Submission, budget: Budget) -> str:
    mail = _with_parameters(b"MAIL FROM:" + submission.sender.raw, submission.parameters)
    _expect(connection, mail, _OK, budget)
    for recipient in submission.recipients:
        _expect(connection, _rcpt(recipient), _OK, budget)
    _expect(connection, b"DATA", _GO_ON, budget)
    piece = b""
    for following in _stuffed(_wire(submission)):
        budget.tick()
        connection.send(piece)
        piece = following
    _limit(connection, budget)
    text = _finish(connection, piece)
    return text.decode("ascii", "replace").rpartition("queued as ")[2].strip()


def _finish(connection: smtplib.SMTP_SSL, final_dot: bytes) -> bytes:
    """Send the final dot and read its reply: from here on, a copy may have been taken that we know nothing of."""
    try:
        connection.send(final_dot)
        code, text = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise _ReplyLostError(_text(error)) from error
    if code in _REFUSALS:
        raise smtplib.SMTPDataError(code, text)
    if code != _OK:
        raise _ReplyLostError(f"the reply to the final dot makes no sense: {code} {_text(text)}")
    return text


def _expect(connection: smtplib.SMTP_SSL, command: bytes, wanted: int, budget: Budget) -> None:
    _limit(connection, budget)
    connection.send(command + b"\r\n")
    code, text = connection.getreply()
    if code != wanted:
        raise smtplib.SMTPResponseException(code, text)


def _rcpt(recipient: Recipient) -> bytes:
    return _with_parameters(b"RCPT TO:" + recipient.address.raw, recipient.parameters)


def _with_parameters(command: bytes, parameters: tuple[str, ...]) -> bytes:
    return b" ".join((command, *(one.encode("utf-8", "surrogateescape") for one in parameters)))


def _wire(submission: Submission) -> Iterator[bytes]:
    """Give the message as it goes over the wire."""
    yield b"".join(field.wire() for field in submission.fields) + b"\r\n"
    yield from submission.body.chunks()


def _stuffed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """
    Double the dot at the beginning of each line and put the final dot (RFC 5321 section 4.5.2).

    A line may begin in one chunk and end in another. A mail server may take a bare LF for a line end, so a dot
    behind one is doubled as well: content must never be able to end the message.
    """
    last = b"\n"  # a dot at the very beginning opens a line
    end = b""
    for chunk in chunks:
        if chunk:
            yield (last + chunk).replace(b"\n.", b"\n..")[1:]
            last, end = chunk[-1:], (end + chunk)[-2:]
    yield b".\r\n" if end == b"\r\n" else b"\r\n.\r\n"


def _text(error: object) -> str:
    return " ".join(str(error).split())
