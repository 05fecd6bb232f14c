"""Holding: the judged recipients' copy is durable, and a notice says so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gatepost.crypto import seal
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Judgement
from gatepost.errors import StorageError
from gatepost.gateway.holding import Holding
from gatepost.gateway.notices import Notices
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction
from gatepost.vault.blobs import DirectoryBlobs
from gatepost.vault.held import Held, Quarantine

BOB, CAROL = Recipient(parse(b"<bob@x.test>")), Recipient(parse(b"<carol@x.test>"))
MESSAGE = Transaction(
    client=Client(),
    sender=parse(b"<alice@hosp.test>"),
    parameters=(),
    recipients=(BOB, CAROL),
    fields=(Field(b"Subject", b" =?utf-8?q?Gr=C3=BC=C3=9Fe?="),),
    body=MemoryBody(b"x"),
    queue_id="4XYZ",
)


class Rows:
    """Keeps what is added."""

    def __init__(self) -> None:
        self.added: list[Held] = []

    def add(self, held: Held) -> None:
        self.added.append(held)

    def matching(self, prefix: str) -> tuple[Held, ...]:
        return tuple(one for one in self.added if str(one.id).startswith(prefix))

    def waiting(self) -> tuple[Held, ...]:
        raise NotImplementedError

    def expired(self, now: datetime) -> tuple[Held, ...]:
        raise NotImplementedError

    def narrow(self, held: Held, recipients: Sequence[Recipient], reason: str) -> bool:
        raise NotImplementedError

    def close(self, held: Held, state: str, at: datetime, reason: str) -> bool:
        raise NotImplementedError


class Log:
    """Must not be asked: a notice is noted when it is sent."""

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:
        raise NotImplementedError

    def forget(self, digest: bytes) -> None:
        raise NotImplementedError


def judged(direction: Direction) -> list[Judgement]:
    reasons = ("rule demands encrypt", "no usable key")
    return [Judgement(BOB, direction, Demand.ENCRYPT, ("r",), Treatment.QUARANTINE, reasons)]


def holding(directory: Path, rows: Rows) -> Holding:
    quarantine = Quarantine(
        store=rows, blobs=DirectoryBlobs(directory), public=lambda: seal.new_pair()[1], keep=timedelta(days=7)
    )
    notices = Notices(log=Log(), admin=parse(b"<admin@hosp.test>"), hostname="gw.hosp.test")
    return Holding(quarantine=quarantine, notices=notices)


def test_row_says_what_and_why(tmp_path: Path) -> None:
    """The row holds the judged recipients, the decoded subject, the rules and all reasons."""
    rows = Rows()
    place = holding(tmp_path, rows)
    place.hold(MESSAGE, judged(Direction.OUT), uuid4())
    notice = place.notice(MESSAGE, judged(Direction.OUT))
    (held,) = rows.added
    assert (held.recipients, held.subject, held.rules) == ((BOB,), "Grüße", ("r",))
    assert held.cause == "rule demands encrypt; no usable key"
    assert notice.recipient == MESSAGE.sender
    assert b"carol@x.test" in notice.body.read()


@pytest.mark.parametrize("direction", [Direction.IN, Direction.TRANSIT])
def test_outside_senders_are_not_told(tmp_path: Path, direction: Direction) -> None:
    """What came from outside is told to the admin: the sender's address may be forged."""
    notice = holding(tmp_path, Rows()).notice(MESSAGE, judged(direction))
    assert notice.recipient.text == "admin@hosp.test"


def test_failing_vault_is_an_error(tmp_path: Path) -> None:
    """Where nothing can be held, the error goes up and nobody is told anything."""
    with pytest.raises(StorageError):
        holding(tmp_path / "absent", Rows()).hold(MESSAGE, judged(Direction.OUT), uuid4())
