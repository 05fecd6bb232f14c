"""
The real milter adapter before a gateway that does what the subject says; run as `scripted.py FOLDER`.

What the gateway was given comes back in the field `X-Saw`, as JSON.
"""

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

from gatepost.decision.view import View
from gatepost.gateway.budget import Budget
from gatepost.gateway.metrics import NoMetrics
from gatepost.gateway.survey import Survey
from gatepost.gateway.verdict import Accept, Discard, Reject, TempFail, Verdict
from gatepost.message.address import Address
from gatepost.message.body import MemoryBody
from gatepost.message.edit import Append, Change, Form, Prepend
from gatepost.message.field import named
from gatepost.message.transaction import Client, Transaction
from gatepost.mta import server
from gatepost.mta.sessions import Sessions

_TOGETHER = 16
BODY = b"0123456789abcdef" * 12_000 + b"\r\n"


class Script:
    """A gateway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._meeting = threading.Barrier(_TOGETHER)

    def check_recipient(self, recipient: Address, client: Client) -> None:
        """Take every recipient."""

    def survey(self, transaction: Transaction) -> Survey:
        """Fail, or want the body, as the subject says."""
        subject = _subject(transaction)
        if subject == "the survey fails":
            raise ValueError("a secret of the survey")
        return Survey((), View("<>"), needs_body=subject != "no body", inside=True, hops=None)

    def process(self, transaction: Transaction, _survey: Survey, budget: Budget) -> Verdict:  # noqa: C901 - a script
        """Do what the subject says."""
        saw = Append(b"X-Saw", b" " + json.dumps(_saw(transaction)).encode())
        match _subject(transaction):
            case "fail":
                raise RuntimeError("a secret of the gateway")
            case "exit":
                sys.exit(0)
            case "slow":
                (self._folder / "slow").touch()
                time.sleep(2)
            case "waits":
                for _ in range(12):
                    time.sleep(0.5)
                    budget.tick()
            case "meet":
                self._meeting.wait(25)
            case "discard":
                return Discard()
            case "reject":
                return Reject(("100% refused: Grüße", "line\r\nbreak"))
            case "later":
                return TempFail(("100% later: bob@plain.test", "line\r\nbreak"), "4.4.3", "unknown")
            case "edit":
                edits = (
                    saw,
                    Change(b"Subject", 1, b" changed"),
                    Change(b"X-A", 2, None),
                    Prepend(b"X-Top", b" 1"),
                )
                removed = tuple(one.address for one in transaction.recipients[1:])
                return Accept(Form(edits, MemoryBody(BODY)), removed=removed, headers_only_bounces=True)
        return Accept(Form((saw,)))


def _subject(transaction: Transaction) -> str:
    return b"".join(field.value for field in named(transaction.fields, b"subject")).strip().decode()


def _saw(transaction: Transaction) -> dict[str, object]:
    return {
        "sender": transaction.sender.raw.decode(),
        "parameters": transaction.parameters,
        "recipients": [one.address.raw.decode() for one in transaction.recipients],
        "fields": [field.name.decode() for field in transaction.fields],
        "body": hashlib.sha256(transaction.body.read()).hexdigest(),
        "queue_id": transaction.queue_id,
        "authenticated": transaction.client.authenticated,
        "address": transaction.client.address,
        "came": transaction.client.came,
        "certificate": transaction.client.certificate,
    }


def main(folder: Path) -> None:
    """Serve until SIGTERM, as `gatepost run milter` does."""
    cut_off = server.serve(
        socket=f"unix:{folder / 'milter.sock'}",
        mail=Script(folder),
        spool_directory=folder,
        max_seconds=30,
        sessions=Sessions(20),
        metrics=NoMetrics(),
        drain_seconds=10,
        ready=(folder / "ready").touch,
        stopping=(folder / "stopping").touch,
    )
    os._exit(1 if cut_off else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
