"""
The messages of an identity run, and what a Postfix makes of each that is its own doing.

A corpus is a folder named in `GATEPOST_CORPORA`; every `.eml` and `.msg` below it is sent as a mail program
would: LF line ends become CRLF, nothing else is touched.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.client import Client, Envelope, Outcome
from lab.postfix import Postfix
from lab.sink import Received, Sink


def corpora() -> Mapping[str, bytes]:
    """
    Give every message of `$GATEPOST_CORPORA` by its path there; empty if it is not set.

    A README is no message; everything else is.
    """
    place = os.environ.get("GATEPOST_CORPORA", "")
    if not place:
        return {}
    root = Path(place)
    files = sorted(
        file for file in root.rglob("*") if file.is_file() and not file.name.startswith(("README", "."))
    )
    return {str(file.relative_to(root)): wire(file.read_bytes()) for file in files}


def wire(message: bytes) -> bytes:
    """Give a stored message the line ends of the wire; one that has CRLF already is left as it is."""
    if b"\r\n" in message:
        return message
    return message.replace(b"\n", b"\r\n")


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a run: the answer it got, and what arrived, if anything did."""

    outcome: Outcome
    received: Received | None

    def comparable(self, original: bytes) -> bytes | None:
        """
        Give the received bytes with what each Postfix makes anew replaced by a fixed word.

        These are: queue ID and time in its own Received field, and the Message-Id and Date (Resent-Date) that it
        adds to a message without them, which name its queue ID and the time.
        """
        if self.received is None:
            return None
        queue_id = re.escape(self.outcome.queue_id.encode())
        own = rb"\A(Received: from [^\r]*\r\n\tby \S+ \(Postfix\) with E?SMTP id )" + queue_id
        own += rb"(;\r\n\t|\r\n\tfor <[^\r]*>; )[^\r]*\r\n"
        data = re.sub(own, rb"\1QUEUE-ID\2TIME\r\n", self.received.data, count=1)
        generated = rb"\r\nMessage-Id: <\d{14}\." + queue_id + rb"@[^>\r]*>\r\n"
        data = re.sub(generated, rb"\r\nMessage-Id: GENERATED\r\n", data, count=1)
        dates = re.compile(rb"\r\n(?:Resent-)?Date: [^\r]*(?=\r\n)")
        for date in set(dates.findall(data)) - set(dates.findall(b"\r\n" + original)):
            data = data.replace(date, date.partition(b":")[0] + b": GENERATED", 1)
        return data


def run(
    postfix_port: int,
    sink: Sink,
    messages: Mapping[str, bytes],
    *,
    sender: str,
    domain: str,
    postfix: Postfix,
    per_connection: int = 20,
) -> dict[str, Sent]:
    """Send each message to an address of its own at `domain`, wait until the queue is empty, and pair the two."""
    outcomes: dict[str, Outcome] = {}
    names = list(messages)
    for start in range(0, len(names), per_connection):
        with Client(postfix_port) as client:
            for number, name in enumerate(names[start : start + per_connection], start):
                outcomes[name] = client.send(Envelope.of(sender, f"m{number}@{domain}"), messages[name])
    postfix.wait_queue_empty(120)
    arrived = {address: message for message in sink.messages for address in message.addresses}
    return {name: Sent(outcomes[name], arrived.get(f"m{number}@{domain}")) for number, name in enumerate(names)}
