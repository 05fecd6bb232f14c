"""
Sending the demo's samples one by one, and judging each by what came of it at the receivers.

Rules:
  * A sample is judged when all that it must bring is there and Postfix has nothing under way any more.
  * Whatever else arrived meanwhile, for anyone, fails the sample.
  * `gatepost explain` gives the reason beside the judgement and never counts in it.
"""

import contextlib
import re
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from lab.client import Envelope, send
from lab.demo_arrival import NOTHING, WAITING, Eye, Form
from lab.demo_explain import Explainer
from lab.demo_report import Judged, Row, shortened
from lab.demo_samples import HELD_NOTICE, Sample
from lab.sink import Received
from lab.town import Town
from lab.wait import until

_PATIENCE = 20.0
_OUTSIDE_CLIENT = "192.0.2.25"
_NOTICE_WHY = "the sender is told what is held"
_Reasons = dict[str, str]


@dataclass(frozen=True, slots=True)
class Played:
    """A sample after it was played: its rows without their reasons, which are still being asked for."""

    sample: Sample
    reply: str
    rows: tuple[Row, ...]
    reasons: Future[_Reasons]

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return Judged(self.sample, self.reply, self.rows).ok

    def judged(self) -> Judged:
        """Wait for the reasons and give it with them."""
        told = self.reasons.result()
        rows = (
            Row(row.address, row.expected, row.arrived, row.why or told.get(row.address, "")) for row in self.rows
        )
        return Judged(self.sample, self.reply, tuple(rows))


class Stage:
    """The running town with samples sent through it; `pool`, of one thread, asks for the reasons meanwhile."""

    def __init__(self, town: Town, eye: Eye, explainer: Explainer, pool: Executor) -> None:
        self._town = town
        self._explainer = explainer
        self._eye = eye
        self._pool = pool
        self._asked: list[Future[_Reasons]] = []
        self._seen = [0 for _ in town.sinks]
        self._arrived = town.folder / "arrived"
        self._arrived.mkdir()

    def play(self, sample: Sample) -> Played:
        """Send a sample, or release it, and judge what came of it."""
        reply = self._release(sample) if sample.release else self._send(sample)
        with contextlib.suppress(TimeoutError):  # what is missing is told by the judgement
            until(lambda: self._settled(sample), _PATIENCE, "everything arrives")
        reasons = self._pool.submit(self._reasons, sample)
        self._asked.append(reasons)
        return Played(sample, reply, self._rows(sample, self.take()), reasons)

    def _send(self, sample: Sample) -> str:
        town = self._town
        port = town.postfix.outside_port if sample.door == "outside" else town.postfix.inside_port
        outcome = send(port, Envelope(sample.sender, sample.recipients), sample.message)
        return f"{outcome.reply.code} {outcome.reply.text}"

    def _release(self, sample: Sample) -> str:
        """Import the recipient's key, as it came by now, and release the copy that is held for it."""
        for reasons in self._asked:  # what was decided without the key is to be explained without it
            reasons.result()
        town, address = self._town, sample.release
        key = town.gpg.export_to(town.folder / "new.asc", f"New <{address}>")
        town.site.gatepost("key", "import", key)
        held = town.site.json("quarantine", "list")["held"]
        copy = next(one["id"] for one in held if address in one["recipients"])
        done = town.site.gatepost("quarantine", "release", copy, check=False)
        return "250 released" if done.returncode == 0 else f"500 {done.stderr.strip()}"

    def _settled(self, sample: Sample) -> bool:
        """Tell whether all that is expected arrived or waits, and nothing else is under way."""
        there = {address for message in self._new() for address in message.addresses}
        waiting = self._waiting()
        due = {address for address, form in sample.expected.items() if form not in (NOTHING, WAITING)}
        late = {address for address, form in sample.expected.items() if form == WAITING}
        return due <= there and late <= set(waiting) and all(waiting.values())

    def _waiting(self) -> dict[str, str]:
        """Give each recipient in Postfix's queue, with the reason for the delay once there is one."""
        return {
            recipient["address"]: recipient.get("delay_reason", "")
            for message in self._town.postfix.queue()
            for recipient in message["recipients"]
        }

    def _new(self) -> list[Received]:
        pairs = zip(self._town.sinks, self._seen, strict=True)
        return [message for sink, seen in pairs for message in sink.messages[seen:]]

    def take(self) -> list[Received]:
        """Give what arrived since the last time, and write each message into the folder `arrived`."""
        new: list[Received] = []
        for place, sink in enumerate(self._town.sinks):
            messages = sink.messages[self._seen[place] :]
            for message in messages:
                self._seen[place] += 1
                name = f"{sink.name}-{self._seen[place]:02}-{_file_name(message.addresses[0])}.eml"
                (self._arrived / name).write_bytes(message.data)
            new += messages
        return new

    def _rows(self, sample: Sample, new: Sequence[Received]) -> tuple[Row, ...]:
        waiting = self._waiting()
        rows = []
        for address, expected in sample.expected.items():
            arrived = self._eye.look([one for one in new if address in one.addresses], sample.content)
            why = (
                "the sender is told what is held, once" if expected == HELD_NOTICE else sample.why.get(address, "")
            )
            if arrived == NOTHING and address in waiting:
                arrived, why = WAITING, f"Postfix: {waiting[address]}"
            rows.append(Row(address, expected, arrived, why))
        others = {address for one in new for address in one.addresses} - set(sample.expected)
        rows += [Row(address, None, self._stray(address, new, sample), "") for address in sorted(others)]
        return tuple(rows)

    def _stray(self, address: str, new: Sequence[Received], sample: Sample) -> Form:
        return self._eye.look([one for one in new if address in one.addresses], sample.content)

    def _reasons(self, sample: Sample) -> _Reasons:
        """Ask `gatepost explain` for each recipient's reasons."""
        if sample.release:
            return {}
        to = [part for address in sample.recipients for part in ("--to", address)]
        client = ("--client", _OUTSIDE_CLIENT, "--listener", "outside") if sample.door == "outside" else ()
        # As it was before it was sent: without its Message-ID, which a protected conversation knows by now.
        message = re.sub(rb"(?im)^Message-ID:.*\r\n", b"", sample.message, count=1)
        told = self._explainer.reasons(["--from", sample.sender, *to, *client], message)
        return {address: shortened(reasons) for address, reasons in told.items()}


def _file_name(address: str) -> str:
    return "".join(character if character.isalnum() or character in "@.-" else "_" for character in address)
