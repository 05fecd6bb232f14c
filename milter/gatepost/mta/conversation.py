"""
One conversation with a mail server in the milter protocol: packets in, a session's callbacks, packets out.

It stands where libmilter stands below pymilter, and is to a session what pymilter calls its context. All that has
come is read at once, and what a step edits and answers goes out at once: libmilter takes each packet by two reads
and three polls, and gives the interpreter's lock away between any two of them. An answer may have to wait for rows
to be on disk; no thread waits with it.

Rules:
  * Whatever is malformed, too large, or raised by a callback ends the conversation: the mail server then does what
    it does without a milter, which is to put the mail off (`default_action`).
  * Macros hold from their step on, until that step comes again or the message ends.
  * A reply of our own is sent only with the verdict that it was made for.

Sources: libmilter's mfdef.h and engine.c; Postfix milter8.c.
"""

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from gatepost.mta.waits import Done

# What callbacks give back (libmilter's mfapi.h, SMFIS_*), and the packets that say it.
CONTINUE, REJECT, DISCARD, ACCEPT, TEMPFAIL, NOREPLY, SKIP = 0, 1, 2, 3, 4, 7, 8
WAIT = -1  # of our own: the session's `conclude` gives the answer, once what it expects is done
_REPLIES = {CONTINUE: b"c", REJECT: b"r", DISCARD: b"d", ACCEPT: b"a", TEMPFAIL: b"t", SKIP: b"s"}
_CLASSES = {REJECT: b"5", TEMPFAIL: b"4"}  # of the reply codes that go with a verdict
_VERSION = 6
_NEGOTIATION = struct.Struct(">III")
_SIZE = struct.Struct(">I")
_PORT = struct.Struct(">H")
_STAGES = b"CHMRTNE"  # connect, HELO, MAIL, RCPT, DATA, end of header, end of message
_MESSAGE = _STAGES.index(b"M")
_MOST = 1 << 20  # octets of a packet: a header field of Postfix has 100 KB at most, a piece of a body 64 KB
_READ = 1 << 16
_WRITE = 1 << 18  # octets of edits that may wait for their verdict
_IPV6 = b"ipv6:"
_NONE: Mapping[bytes, bytes] = {}


class Lead(Protocol):
    """What serves a conversation."""

    def expect(self, served: "Conversation", begin: Callable[[Done], None], seconds: float) -> None:
        """Begin what a conversation waits for; its `conclude` is called once that is done, or time is over."""

    def aside(self, served: "Conversation") -> None:
        """Let others be served: this one's step is about to wait."""


class Conversation:
    """One connection of the mail server; one thread at a time."""

    def __init__(self, connection: socket.socket, session: Any, lead: Lead) -> None:  # noqa: ANN401 - pymilter has no types
        """Take the connection, and the session (a Milter.Base) whose callbacks are called."""
        self._connection = connection
        self._descriptor = connection.fileno()
        self._session = session
        self._lead = lead
        self._came = b""
        self._out = bytearray()
        self._reply = b""
        self._waits = False
        self._macros: list[Mapping[bytes, bytes]] = [_NONE] * len(_STAGES)
        self._steps: dict[bytes, Callable[[bytes], int]] = {
            b"D": self._define,
            b"L": self._header,
            b"M": self._mail,
            b"R": self._recipient,
            b"N": lambda _: int(session.eoh()),
            b"B": lambda data: int(session.body(data)),
            b"E": self._end,
            b"A": self._abort,
            b"K": self._abort,
            b"C": self._connect,
            b"O": self._negotiate,
        }
        session._setctx(self)  # noqa: SLF001 - how pymilter hands a session its context

    def fileno(self) -> int:
        """Give the descriptor of the connection, also once it is closed."""
        return self._descriptor

    def serve(self) -> bool:
        """
        Take what has come, and answer; False where the mail server has ended it.

        Raises OSError, ValueError, struct.error, what callbacks do: the conversation is over as well.
        """
        try:
            piece = self._connection.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        self._came += piece
        if self._waits and len(self._came) > _MOST:
            raise ValueError("the mail server goes on without the answer that it waits for")
        return bool(piece) and self._go_on()

    def conclude(self, error: Exception | None) -> bool:
        """Answer the end of a message that had to wait: for nothing more, or in vain; else as `serve`."""
        self._waits = False
        self._answer(int(self._session.conclude(error)))
        self._forget(_MESSAGE)
        return self._go_on()

    def close(self) -> None:
        """End the session, and let the connection go."""
        try:
            self._session.close()
        finally:
            self._connection.close()

    def _go_on(self) -> bool:
        """Take each packet that is whole; what was said goes out at once."""
        for letter, data in self._packets():
            if letter == b"Q":
                self._flush()
                return False
            step = self._steps.get(letter)
            answer = CONTINUE if step is None else step(data)
            if answer == WAIT:
                self._waits = True
            elif answer != NOREPLY:
                self._answer(answer)
        self._flush()
        return True

    def _packets(self) -> Iterator[tuple[bytes, bytes]]:
        """Give each packet's letter and data, until an answer has to wait; what is not taken stays."""
        came, start = self._came, 0
        while not self._waits and len(came) - start >= _SIZE.size:
            (size,) = _SIZE.unpack_from(came, start)
            if not 0 < size <= _MOST:
                raise ValueError(f"a packet of {size} octets")
            begin = start + _SIZE.size
            if len(came) - begin < size:
                break
            start = begin + size
            yield came[begin : begin + 1], came[begin + 1 : start]
        self._came = came[start:]

    def _negotiate(self, data: bytes) -> int:
        version, actions, steps = _NEGOTIATION.unpack(data[: _NEGOTIATION.size])
        options = [actions, steps, 0, 0]
        if self._session.negotiate(options) != CONTINUE:
            raise ConnectionAbortedError("the session is refused")
        self._say(b"O", _NEGOTIATION.pack(min(version, _VERSION), options[0], options[1]))
        return NOREPLY

    def _define(self, data: bytes) -> int:
        """Note a step's macros; those of what follows it are void."""
        place = _STAGES.find(data[:1])
        if place >= 0:
            self._forget(place)
            words = data[1:].split(b"\0")
            self._macros[place] = dict(zip(words[::2], words[1::2], strict=False))
        return NOREPLY

    def _forget(self, place: int) -> None:
        self._macros[place:] = [_NONE] * (len(_STAGES) - place)

    def _connect(self, data: bytes) -> int:
        name, _, rest = data.partition(b"\0")
        family, port, address = rest[:1], rest[1:3], rest[3:].rstrip(b"\0")
        if address[: len(_IPV6)].lower() == _IPV6:
            address = address[len(_IPV6) :]
        peer = (_text(address), _PORT.unpack(port)[0]) if family in {b"4", b"6"} else None
        return int(self._session.connect(_text(name), family, peer))

    def _mail(self, data: bytes) -> int:
        return int(self._session.envfrom_bytes(*_strings(data)))

    def _recipient(self, data: bytes) -> int:
        return int(self._session.envrcpt_bytes(*_strings(data)))

    def _header(self, data: bytes) -> int:
        name, value = _strings(data)
        return int(self._session.header_bytes(_text(name), value))

    def _end(self, data: bytes) -> int:
        if data:  # the protocol lets the last piece of the body come with the end
            self._session.body(data)
        answer = int(self._session.eom())
        if answer != WAIT:
            self._forget(_MESSAGE)
        return answer

    def _abort(self, _data: bytes) -> int:
        self._session.abort()
        self._forget(_MESSAGE)
        return NOREPLY

    def _answer(self, answer: int) -> None:
        reply, self._reply = self._reply, b""
        if reply and reply[:1] == _CLASSES.get(answer):
            self._say(b"y", reply + b"\0")
        else:
            self._say(_REPLIES[answer])

    def _say(self, letter: bytes, data: bytes = b"") -> None:
        self._out += _SIZE.pack(1 + len(data)) + letter + data
        if len(self._out) > _WRITE:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            self._connection.sendall(self._out)
            self._out.clear()

    # -- what a session asks of its context -----------------------------------------------------------------

    def setpriv(self, session: object) -> None:
        """Take note of the session, which is known already."""

    def getsymval(self, name: str) -> str | None:
        """Give the latest value of a macro, or None; raises UnicodeDecodeError for one that is not UTF-8."""
        wanted = name.encode()
        for macros in reversed(self._macros):
            if wanted in macros:
                return macros[wanted].decode()
        return None

    def setreply(self, code: str, enhanced: str, *lines: str) -> None:
        """Have the next refusal say this; percent signs are doubled already."""
        last = len(lines) - 1
        said = [f"{code}{' ' if place == last else '-'}{enhanced} {line}" for place, line in enumerate(lines)]
        self._reply = "\r\n".join(said).encode()

    def addheader(self, name: str, value: str, place: int) -> None:
        """Put a field at a place in the header, or below all others where that is negative."""
        if place < 0:
            self._say(b"h", _strung(name, value))
        else:
            self._say(b"i", _SIZE.pack(place) + _strung(name, value))

    def chgheader(self, name: str, place: int, value: str | None) -> None:
        """Change a field, or delete it."""
        self._say(b"m", _SIZE.pack(place) + _strung(name, value or ""))

    def delrcpt(self, recipient: str) -> None:
        """Take a recipient off."""
        self._say(b"-", _strung(recipient))

    def chgfrom(self, sender: str, parameters: str | None) -> None:
        """Change the sender, or its parameters."""
        self._say(b"e", _strung(sender, *([parameters] if parameters else [])))

    def replacebody(self, piece: bytes) -> None:
        """Put the next piece of a new body."""
        self._say(b"b", piece)

    def expect(self, begin: Callable[[Done], None], seconds: float) -> None:
        """Begin what the session waits for; its `conclude` is called once that is done, or time is over."""
        self._lead.expect(self, begin, seconds)

    def aside(self) -> None:
        """Let others be served: the step is about to wait."""
        self._lead.aside(self)

    def progress(self) -> None:
        """Tell that work goes on, now."""
        self._say(b"p")
        self._flush()


def _strings(data: bytes) -> list[bytes]:
    """Take NUL-terminated strings apart; raises ValueError where the last has no end."""
    *strings, rest = data.split(b"\0")
    if rest or not strings:
        raise ValueError("a packet without its end")
    return strings


def _strung(*texts: str) -> bytes:
    strings = [text.encode() for text in texts]
    if any(b"\0" in one for one in strings):
        raise ValueError("a NUL in what the mail server is told")
    return b"".join([one + b"\0" for one in strings])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
