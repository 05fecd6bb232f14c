"""
The milter's callbacks, in pymilter's terms: the only module that imports Milter. `conversation` calls them.

Callbacks note what they are given and answer only where an answer is needed. Everything is decided and built
at the end of the message; then the edits go out in one run, header and envelope first, the body last and
contiguous, because Postfix takes no other request between two pieces of a body. Whatever is raised becomes a
tempfail. A session is a connection; a Receiving is one message on it.

Sources: libmilter's API; Postfix MILTER_README; milter8.c.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import Milter

from gatepost.errors import AddressError, cause
from gatepost.gateway.budget import Budget
from gatepost.gateway.metrics import Metrics, word_of
from gatepost.gateway.survey import Survey
from gatepost.gateway.verdict import Accept, Awaited, Discard, Reject, TempFail, Verdict
from gatepost.log import logger
from gatepost.message import address
from gatepost.message.address import Address
from gatepost.message.transaction import Came, Client, Recipient, Transaction
from gatepost.mta import edits
from gatepost.mta.conversation import WAIT
from gatepost.mta.receiving import Receiving
from gatepost.mta.sessions import Sessions

_CONTINUE = int(Milter.CONTINUE)
_NOREPLY = int(Milter.NOREPLY)
_ACTIONS = Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.DELRCPT | Milter.CHGFROM
_UNUSED = Milter.P_NOHELO | Milter.P_NODATA | Milter.P_NOUNKNOWN
_SILENT = Milter.P_NR_CONN | Milter.P_NR_MAIL | Milter.P_NR_HDR | Milter.P_NR_EOH
_NEEDED = Milter.P_HDR_LEADSPC
_WANTED = _UNUSED | _SILENT | _NEEDED | Milter.P_SKIP

_REPLY_LINES = 32  # what smfi_setmlreply takes
_REPLY_LENGTH = 480


class Mail(Protocol):
    """What the adapter needs of the gateway."""

    def check_recipient(self, recipient: Address, client: Client) -> None:
        """
        Raise AddressError for a recipient that the mail server might route otherwise than it reads, or that is not
        for this client.
        """

    def survey(self, transaction: Transaction) -> Survey:
        """Gather, at the end of the header, what is known; the body is not there yet."""

    def process(self, transaction: Transaction, survey: Survey, budget: Budget) -> Verdict | Awaited:
        """Decide about one message and carry it out up to the edits."""


class Session(Milter.Base):  # type: ignore[misc] # pymilter has no types
    """One connection of the mail server."""

    def __init__(
        self, *, mail: Mail, sessions: Sessions, metrics: Metrics, spool_directory: Path, max_seconds: float
    ) -> None:
        self._mail = mail
        self._metrics = metrics
        self._sessions = sessions
        self._spool_directory = spool_directory
        self._max_seconds = max_seconds
        self._peer = ""
        self._peer_name = ""
        self._receiving: Receiving | None = None
        self._counted = False
        self._busy = False
        self._queue_id = ""
        self._awaited: Awaited | None = None

    def negotiate(self, options: list[int]) -> int:
        """
        Ask for just the steps that are used; refuse a mail server that cannot do what is needed.

        One session too many is refused as well: Postfix then puts its mail off (default_action).
        """
        actions, steps, _, _ = options
        if actions & _ACTIONS != _ACTIONS or steps & _NEEDED != _NEEDED:
            logger.error("the mail server lacks milter actions or steps that Gatepost needs", actions=actions)
            return int(Milter.REJECT)
        self._counted = self._sessions.open()
        if not self._counted:
            logger.error("a session was refused: [gateway] max_sessions are open")
            return int(Milter.REJECT)
        self._actions = options[0] = _ACTIONS
        self._protocol = options[1] = steps & _WANTED
        options[2] = options[3] = 0
        return _CONTINUE

    def connect(self, hostname: str, _family: int, peer: tuple[str, int] | str | None) -> int:
        """Note the client; the address is unknown for clients without one."""
        self._peer_name = hostname
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        return self._silence(Milter.P_NR_CONN)

    def envfrom_bytes(self, sender: bytes, *parameters: bytes) -> int:
        """MAIL: a new message begins; what was left of another is dropped."""
        self._drop()
        receiving = self._receiving = Receiving(self._spool_directory)
        try:
            receiving.client = self._client()
            # Only what comes without an SMTP session, as by sendmail(1), has a queue ID already.
            receiving.without_smtp = bool(self._macro("i"))
            receiving.parameters = _texts(parameters)
            receiving.sender = address.parse(sender)
        except BaseException as error:  # noqa: BLE001 - answered at the end of the message
            receiving.fault = error
        return self._silence(Milter.P_NR_MAIL)

    def envrcpt_bytes(self, recipient: bytes, *parameters: bytes) -> int:
        """
        RCPT: refuse an address that could not be given back byte for byte, or be read in two ways.

        Without an SMTP session it is refused at the end of the message: Postfix would take an earlier refusal for
        a fault of its own configuration, and keep the message without telling anybody (MILTER_README).
        """
        receiving = self._current()
        if isinstance(receiving.fault, AddressError):
            return self._refuse("5.1.7", f"Sender refused: {receiving.fault}", recipient)
        try:
            found = address.parse(recipient)
            self._mail.check_recipient(found, receiving.client)
            receiving.recipients.append(Recipient(found, _texts(parameters)))
        except AddressError as error:
            return self._refuse("5.1.3", f"Recipient refused: {error}", recipient)
        except Exception as error:  # noqa: BLE001 - answered at the end of the message
            receiving.fault = error
        return _CONTINUE

    def header_bytes(self, name: str, value: bytes) -> int:
        """Keep one header field, raw."""
        self._current().fields.append((name, value))
        return self._silence(Milter.P_NR_HDR)

    def eoh(self) -> int:
        """End of header: find out whether the body is needed at all."""
        receiving = self._current()
        try:
            receiving.survey = self._mail.survey(receiving.transaction(self._macro("i")))
        except BaseException as error:  # noqa: BLE001 - answered at the end of the message
            receiving.fault = receiving.fault or error
        return self._silence(Milter.P_NR_EOH)

    def body(self, chunk: bytes) -> int:
        """Spool a piece of the body, or have the rest of it skipped."""
        receiving = self._current()
        if self._protocol & Milter.P_SKIP and (receiving.fault is not None or not receiving.needs_body):
            return int(Milter.SKIP)
        if receiving.fault is None:
            try:
                receiving.spool.write(chunk)
            except OSError as error:  # the disk is full, say: answered at the end of the message
                receiving.fault = error
        return _CONTINUE

    def eom(self) -> int:
        """End of message: decide, carry out, edit, answer; the last two may have to wait for `conclude`."""
        self._sessions.enter()
        self._busy = True
        self._queue_id = ""
        return self._answered(self._process)

    def conclude(self, error: Exception | None) -> int:
        """Edit and answer, since what the message waited for is durable; put it off where that failed."""
        return self._answered(partial(self._conclude, error))

    def _answered(self, act: Callable[[], int]) -> int:
        """Give what `act` answers, and a tempfail for whatever it raises; unless it waits, the message is over."""
        answer = int(Milter.TEMPFAIL)
        try:
            answer = act()
        except BaseException as error:  # noqa: BLE001 - whatever went wrong, the answer is a tempfail
            logger.error("tempfail", queue_id=self._queue_id, cause=cause(error))
            self._metrics.put_off(word_of(error))
            answer = self._tempfail()
        finally:
            if answer != WAIT:
                self._end()
        return answer

    def _process(self) -> int:
        self._queue_id = self._macro("i")
        receiving = self._current()
        if receiving.refusal is not None:
            return self._answer_refusal(*receiving.refusal)
        survey = receiving.surveyed()
        budget = Budget(self._max_seconds, keepalive=self.progress, aside=self._ctx.aside)
        verdict = self._mail.process(receiving.transaction(self._queue_id), survey, budget)
        if not isinstance(verdict, Awaited):
            return self._perform(verdict)
        self._awaited = verdict
        self._ctx.expect(verdict.begin, budget.left())
        return WAIT

    def _conclude(self, error: Exception | None) -> int:
        if error is not None:
            raise error
        if self._awaited is None:
            raise RuntimeError("no verdict is awaited")
        return self._perform(self._awaited.conclude())

    def abort(self) -> int:
        """RSET or a lost client: the message is no more, the connection may go on."""
        self._end()
        return _CONTINUE

    def close(self) -> int:
        """End of the connection."""
        self._end()
        if self._counted:
            self._counted = False
            self._sessions.close()
        return _CONTINUE

    def _silence(self, step: int) -> int:
        # An answer that the mail server does not await would be taken for that to the next step.
        return _NOREPLY if self._protocol & step else _CONTINUE

    def _current(self) -> Receiving:
        if self._receiving is None:
            raise RuntimeError("the mail server sent a message step before MAIL")
        return self._receiving

    def _end(self) -> None:
        """Forget the message, which has its answer or was given up."""
        self._awaited = None
        self._drop()
        if self._busy:
            self._busy = False
            self._sessions.leave()

    def _drop(self) -> None:
        if self._receiving is not None:
            self._receiving.drop()
            self._receiving = None

    def _macro(self, name: str) -> str:
        return self.getsymval(name) or ""

    def _client(self) -> Client:
        """Give who the client is and how it came; the macros of HELO hold for every message that follows."""
        came = Came.PLAIN
        if self._macro("{tls_version}"):
            came = Came.VERIFIED if self._trusts_certificate() else Came.TLS
        return Client(
            address=self._peer,
            name=self._peer_name,
            listener=self._macro("{daemon_name}"),
            authenticated=self._macro("{auth_authen}"),
            came=came,
            certificate=self._macro("{cert_subject}") if came is Came.VERIFIED else "",
        )

    def _trusts_certificate(self) -> bool:
        """
        Tell whether the client showed a certificate that the mail server trusts.

        Postfix names subject and issuer, by their common names, only if it does (smtpd_milter.c). Sendmail always
        does, by their whole names, which begin with a slash, and says in {verify} what it thinks of them.
        """
        verified, subject = self._macro("{verify}"), self._macro("{cert_subject}")
        if verified or subject.startswith("/"):
            return verified == "OK"
        return bool(subject or self._macro("{cert_issuer}"))

    def _perform(self, verdict: Verdict) -> int:
        match verdict:
            case Accept():
                edits.perform(self, verdict, self._current().sender)
                return int(Milter.ACCEPT)
            case Discard():
                return int(Milter.DISCARD)
            case Reject(lines=lines):
                self.setreply("550", "5.7.1", *_reply_lines(lines))
                return int(Milter.REJECT)
            case TempFail(lines=lines):
                logger.warning("tempfail", queue_id=self._macro("i"), cause=verdict.told or "; ".join(lines))
                self._metrics.put_off(verdict.cause)
                self.setreply("451", verdict.enhanced, *_reply_lines(lines))
                return int(Milter.TEMPFAIL)

    def _refuse(self, enhanced: str, text: str, recipient: bytes) -> int:
        named = recipient.decode("ascii", "backslashreplace")
        logger.warning("a recipient was refused", queue_id=self._macro("i"), recipient=named, cause=text)
        receiving = self._current()
        if receiving.without_smtp:
            receiving.refusal = receiving.refusal or (enhanced, text)
            return _CONTINUE
        return self._answer_refusal(enhanced, text)

    def _answer_refusal(self, enhanced: str, text: str) -> int:
        self.setreply("553", enhanced, _reply_line(text))
        return int(Milter.REJECT)

    def _tempfail(self) -> int:
        self.setreply("451", "4.7.1", "Message protection is unavailable at the moment, try again later")
        return int(Milter.TEMPFAIL)


def _reply_lines(texts: tuple[str, ...]) -> list[str]:
    return [_reply_line(text) for text in texts[:_REPLY_LINES]]


def _reply_line(text: str) -> str:
    plain = text.encode("ascii", "replace").decode("ascii")
    return plain[:_REPLY_LENGTH].replace("%", "%%").replace("\r", " ").replace("\n", " ")


def _texts(parameters: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(parameter.decode("utf-8", "surrogateescape") for parameter in parameters)
