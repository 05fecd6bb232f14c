"""
Lines of Postfix's log, as far as they tell of deliveries. Pure.

Two kinds of lines belong together by the process that wrote them, one delivery at a time (smtp(8), log_adhoc.c,
tls_misc.c):

    Verified TLS connection established to HOST[ADDRESS]:PORT: TLSv1.3 with cipher NAME (256/256 bits) ...
    QUEUEID: to=<...>, orig_to=<...>, relay=HOST[ADDRESS]:PORT, delay=1.3, delays=1.1/0/0.1/0.1, dsn=2.0.0,
        status=sent (...)

Rules:
  * Only lines of the one Postfix whose `syslog_name` is given count: queue IDs of another mean other mail.
  * A session counts for the recipients of one delivery: not once another queue ID, the same recipient again or
    another relay is named, nor where the connection is younger than the session. Better no proof than a wrong one.
  * What stands in the parentheses was said by a stranger. It is cut short, made printable, and never looked into.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

from gatepost.gateway.delivery import Delivery, Session, Status
from gatepost.mta.postfix.behind import TRANSPORT

LONGEST = 16 << 10  # octets of a line; Postfix writes some 2000
_REPLY = 200
_SLACK = 2.0  # seconds: times may stand in whole ones
_MOST_SESSIONS = 1000
_OLD = 3600.0  # seconds: no delivery takes longer
_DAY = 86400.0
_HEAD = re.compile(
    r"(?P<at>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.,+Z-]{8,24}) \S{1,255} "
    r"(?P<name>[^\s\[]{1,200})\[(?P<pid>\d{1,10})\]: (?P<text>.*)",
    re.DOTALL,
)
_ID = r"(?P<id>[0-9A-Za-z]{6,30})"
_ADDRESS = r'"(?:[^"\\]|\\.)*"@[^<>\s"]*|[^<>\s"]*'
_DELIVERY = re.compile(
    rf"{_ID}: to=<(?P<to>(?!>)(?:{_ADDRESS}))>(?:, orig_to=<(?P<original>{_ADDRESS})>)?"
    r"(?P<pairs>(?:, [a-z_]{1,30}=[^\s,]{0,400}){2,9}?), dsn=(?P<dsn>[245]\.\d{1,3}\.\d{1,3}), "
    r"status=(?P<status>sent|deferred|bounced) \((?P<reply>.*)",
    re.DOTALL,
)
_EXPIRED = re.compile(rf"{_ID}: from=<(?:{_ADDRESS})>, status=(?:force-)?expired, returned to sender\s*")
_DELETED = re.compile(rf"{_ID}: removed\s*")
_SESSION = re.compile(
    r"(?P<peer>Verified|Trusted|Untrusted|Anonymous) TLS connection (?:established|reused) to "
    r"(?P<relay>\S{1,400}): (?P<protocol>[A-Za-z0-9.]{1,20}) with cipher (?P<cipher>[A-Za-z0-9_+-]{1,80}) \("
)
_ON_THE_WAY = f"/{TRANSPORT}/"  # to Gatepost, not from it
_OF_INTEREST = (b" status=", b" TLS connection ", b"/postsuper[")


@dataclass(frozen=True, slots=True)
class Line:
    """One line, whatever log it stood in: its time in seconds since the epoch, who wrote it, and what."""

    at: float
    name: str
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class _Bound:
    """A session, and the delivery that it belongs to once that is known."""

    at: float
    relay: str
    session: Session
    queue_id: str = ""
    recipients: tuple[str, ...] = field(default=())


def line_of(octets: bytes, now: float) -> Line | None:
    """Read a line of a log file; `now` tells the year, which old forms of a line leave out."""
    if len(octets) > LONGEST or not any(word in octets for word in _OF_INTEREST):
        return None
    found = _HEAD.fullmatch(octets.lstrip(b"\0").decode("utf-8", "replace"))
    if found is None or (at := _time(found["at"], now)) is None:
        return None
    return Line(at, found["name"], int(found["pid"]), found["text"])


def _time(text: str, now: float) -> float | None:
    """Read RFC 3339, or RFC 3164 section 4.1.2 in local time and without a year."""
    if text[0].isdigit():
        return _instant(text)
    year = time.localtime(now).tm_year
    found = (_local(text, each) for each in (year, year - 1))
    return next((at for at in found if at is not None and at < now + _DAY), None)


@lru_cache(maxsize=64)
def _local(text: str, year: int) -> float | None:
    try:
        return time.mktime(time.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S"))
    except (ValueError, OverflowError):
        return None  # 29 February of a year that has none, or no time at all


def _instant(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text.replace(",", ".")).timestamp()
    except (ValueError, OverflowError):
        return None


class LogReader:
    """Makes deliveries of lines, in the order in which they were written."""

    def __init__(self, name: str, remembered: Iterable[Mapping[str, object]] = ()) -> None:
        """Take Postfix's `syslog_name`, and what an earlier reader remembered."""
        self._name = name + "/"
        self._bound: dict[int, _Bound] = {}
        for one in remembered:
            self._recall(one)
        self._kinds: dict[str, Callable[[Line], Delivery | None]] = {
            **dict.fromkeys(("smtp", "lmtp"), self._sent_over_network),
            **dict.fromkeys(("error", "retry", "local", "virtual", "pipe", "discard"), _delivery),
            "qmgr": _expired,
            "postsuper": _deleted,
        }

    def read(self, line: Line) -> Delivery | None:
        """Give the delivery that a line tells of, if any."""
        if not line.name.startswith(self._name) or _ON_THE_WAY in line.name:
            return None
        read = self._kinds.get(line.name.rpartition("/")[2])
        return None if read is None else read(line)

    def remembered(self) -> list[dict[str, object]]:
        """Give what must be known of earlier lines to read the next ones, as plain data; what is old is not."""
        latest = max((one.at for one in self._bound.values()), default=0.0)
        return [
            {
                "pid": pid,
                "at": one.at,
                "relay": one.relay,
                "session": [one.session.peer, one.session.protocol, one.session.cipher],
                "queue_id": one.queue_id,
                "recipients": list(one.recipients),
            }
            for pid, one in self._bound.items()
            if one.at > latest - _OLD
        ]

    def _recall(self, one: Mapping[str, object]) -> None:
        match one:
            case {
                "pid": int(pid),
                "at": float(at),
                "relay": str(relay),
                "session": [str(peer), str(protocol), str(cipher)],
                "queue_id": str(queue_id),
                "recipients": [*recipients],
            }:
                session = Session(peer, protocol, cipher)
                self._bound[pid] = _Bound(at, relay, session, queue_id, tuple(map(str, recipients)))

    def _sent_over_network(self, line: Line) -> Delivery | None:
        if found := _SESSION.match(line.text):
            self._bound.pop(line.pid, None)
            if len(self._bound) >= _MOST_SESSIONS:
                del self._bound[next(iter(self._bound))]
            session = Session(found["peer"], found["protocol"], found["cipher"])
            self._bound[line.pid] = _Bound(line.at, found["relay"], session)
            return None
        found = _DELIVERY.match(line.text)
        if found is None:
            return None
        delivery, pairs = _told(line, found)
        return replace(delivery, session=self._session(line, delivery, _connected(pairs)))

    def _session(self, line: Line, delivery: Delivery, seconds: float) -> Session | None:
        """Give the session of a delivery whose connection was so old, and bind it to that; or forget it."""
        bound = self._bound.get(line.pid)
        if bound is None or bound.relay != delivery.relay:
            return None
        if (
            bound.queue_id not in {"", delivery.queue_id}
            or delivery.recipient in bound.recipients
            or line.at - bound.at > seconds + _SLACK
        ):
            del self._bound[line.pid]
            return None
        self._bound[line.pid] = replace(
            bound, queue_id=delivery.queue_id, recipients=(*bound.recipients, delivery.recipient)
        )
        return bound.session


def _delivery(line: Line) -> Delivery | None:
    found = _DELIVERY.match(line.text)
    return None if found is None else _told(line, found)[0]


def _told(line: Line, found: re.Match[str]) -> tuple[Delivery, dict[str, str]]:
    named = (pair.partition("=") for pair in found["pairs"].removeprefix(", ").split(", "))
    pairs = {name: value for name, _, value in named}
    delivery = Delivery(
        at=line.at,
        queue_id=found["id"],
        status=Status(found["status"]),
        recipient=found["to"],
        original=found["original"] or "",
        relay=printable(pairs.get("relay", "")),
        delay=_seconds(pairs.get("delay", "")),
        dsn=found["dsn"],
        reply=printable(found["reply"].rstrip().removesuffix(")")),
    )
    return delivery, pairs


def _expired(line: Line) -> Delivery | None:
    found = _EXPIRED.fullmatch(line.text)
    return None if found is None else Delivery(line.at, found["id"], Status.EXPIRED)


def _deleted(line: Line) -> Delivery | None:
    found = _DELETED.fullmatch(line.text)
    return None if found is None else Delivery(line.at, found["id"], Status.DELETED)


def _connected(pairs: Mapping[str, str]) -> float:
    """Give for how many seconds the connection was there: Postfix tells its set-up and its use apart."""
    return sum(map(_seconds, pairs.get("delays", "").split("/")[2:4]))


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,10}(\.\d{1,6})?", text) else 0.0


def printable(text: str) -> str:
    """Cut what a stranger said, and take out what no terminal must see."""
    return "".join(char if char.isprintable() else "?" for char in text[:_REPLY])
