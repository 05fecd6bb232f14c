"""
A storm of faults: waves of messages; each meets a few faults of its own, and one strikes many at once.

What breaks, where and for whom is chosen by a seed; when exactly, by the machine. A fault counts for a message
only if it stood at the place when the fault struck. Half of the messages come from a client that keeps trying
by itself, half out of the queue of another Postfix.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.client import Envelope, send, send_until_taken
from lab.fault_run import faults_of
from lab.fault_site import FaultSite, Mail, mail
from lab.faults import MIXES, Mix
from lab.lineup import Place
from lab.postfix import Postfix
from lab.trap import Action, Answer, Cut

_WAVE = 200  # messages
_STANDING = 20  # of them stand when the common fault strikes
_THREADS = 25  # fewer than Postfix's smtpd processes
_PATIENCE = 4.0  # seconds that the standing wait for those who never come to their place
_TAKEN = 240.0
_COMMON = (
    "milter killed", "milter killed", "milter killed", "milter stopped (SIGTERM)", "key worker killed",
    "key worker hung", "database gone", "database locked", "database read-only", "database full", "vault gone",
    "vault read-only", "vault full", "policy service killed", "policy service hung", "resolver silent",
)  # fmt: skip
_TO_MILTER = (">MAIL", ">RCPT", ">HEADER", ">EOH", ">BODY", ">EOM", "<ACCEPT")
_PLACES: dict[Mix, tuple[str, ...]] = {
    "one": (*_TO_MILTER, "<ADDHEADER", "<REPLBODY"),
    "two": (*_TO_MILTER, "<DELRCPT"),
    "three": (*_TO_MILTER, "<ADDHEADER", "<DELRCPT", "notice>RCPT", "notice>DOT", "notice<DOT"),
}
_TO_LISTENER = (
    "smtp>MAIL",
    "smtp>RCPT",
    "smtp>DATA",
    "smtp>DOT",
    "smtp<MAIL",
    "smtp<RCPT",
    "smtp<DATA",
    "smtp<DOT",
)
_REPLIES = (b"451 4.3.0 later", b"452 4.3.1 full", b"550 5.7.1 never", b"554 5.3.0 never")


@dataclass(frozen=True, slots=True)
class Wave:
    """What became of one wave: messages sent, faults that struck a message, the common fault, seconds."""

    messages: int
    faults: int
    common: str
    seconds: float


class Storm:
    """Sends waves through a site; `queue` is the Postfix whose queue half of them come from."""

    def __init__(self, site: FaultSite, queue: Postfix, seed: int) -> None:
        self._site = site
        self._queue = queue
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def wave(self, size: int = _WAVE, standing: int = _STANDING) -> Wave:
        """Send one wave and judge it; raises AssertionError where the promise was broken."""
        began = time.monotonic()
        site, pick = self._site, self._random
        site.town.clear()
        site.lineup.clear()
        mails = [mail(pick.choice(tuple(MIXES))) for _ in range(size)]
        common = pick.choice(_COMMON)
        killed = common == "milter killed"
        stops = [self._stop(one, killed=killed) for one in mails[:standing]]
        struck = [self._fault(one) for one in mails for _ in range(pick.choice((1, 2, 3)))]
        with ThreadPoolExecutor(_THREADS) as pool:
            sent = [pool.submit(self._send, one, queued=False) for one in mails[:standing]]
            self._strike(common, stops)
            sent += [pool.submit(self._send, one, queued=pick.random() < 0.5) for one in mails[standing:]]  # noqa: PLR2004 - half
            for one in sent:
                one.result(_TAKEN)
        site.lineup.over()
        self._queue.wait_queue_empty(_TAKEN)
        site.judge(mails)
        faults = sum(question() for question in (*stops, *struck))
        return Wave(len(mails), faults, common, time.monotonic() - began)

    def _place(self, one: Mail) -> Place:
        step = self._random.choice(_PLACES[one.mix] if one.mix == "one" else (*_PLACES[one.mix], *_TO_LISTENER))
        nth = self._random.choice((1, 1, 2)) if step.startswith(("smtp", ">RCPT", "<DELRCPT")) else 1
        return Place(step, nth)

    def _stop(self, one: Mail, *, killed: bool) -> Callable[[], bool]:
        """Have a message stand somewhere until the common fault has struck."""
        place = self._place(one)
        return self._site.lineup.stop(one.name, place, Cut() if killed and place.step.startswith("<") else None)

    def _fault(self, one: Mail) -> Callable[[], bool]:
        """Have a message meet a fault of its own somewhere."""
        place = self._place(one)
        action: Action = Cut()
        if place.step.startswith("smtp>") and self._random.random() < 0.7:  # noqa: PLR2004 - most listeners answer
            action = Answer(self._random.choice(_REPLIES))
        return self._site.lineup.act(one.name, place, action)

    def _strike(self, common: str, stops: list[Callable[[], bool]]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and not all(question() for question in stops):
            time.sleep(0.05)
        strike, lift = faults_of(self._site)[common]
        strike()
        self._site.lineup.go()
        time.sleep(self._random.uniform(0, 12 if common == "database locked" else 2))
        lift()

    def _send(self, one: Mail, *, queued: bool) -> None:
        envelope = Envelope(one.sender, one.recipients)
        if queued:
            outcome = send(self._queue.inside_port, envelope, one.data)
            if not outcome.ok:
                raise AssertionError(f"the sending Postfix did not take {one.name}: {outcome}")
        else:
            port = self._site.town.postfix.inside_port
            send_until_taken(port, envelope, one.data, timeout=_TAKEN, pause=0.3)
