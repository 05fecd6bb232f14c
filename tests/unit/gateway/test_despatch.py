"""What despatch tells of a message once it is done with it."""

import time
from collections.abc import Sequence

from tests.fakes import World

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.directory.event import Record
from gatepost.gateway.despatch import Despatch
from gatepost.gateway.metrics import Metrics, NoMetrics
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.transaction import Client, Recipient, Transaction

BOB = Recipient(parse(b"<bob@out.test>"))
MESSAGE = Transaction(Client(), parse(b"<alice@hosp.test>"), (), (BOB,), (), MemoryBody(b""), "4XYZ")
PLAN = Plan(Answer.REJECT, (Judgement(BOB, Direction.OUT, Demand.REJECT, (), Treatment.REJECT, ("no",)),), ())


class Telling(World):
    """Tells every record at once."""

    def post(self, record: Record) -> None:
        super().post(record)
        record.tell()


class Counting(NoMetrics):
    """Keeps what was answered, and in how many seconds."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, float, int]] = []

    def answered(self, answer: str, seconds: float, judgements: Sequence[Judgement]) -> None:
        self.answers.append((answer, seconds, len(judgements)))


def record(world: World, metrics: Metrics | None) -> None:
    """Record a refusal of a message that took five seconds."""
    despatch = Despatch(
        records=world,
        holder=world,
        submitter=world,
        telling=world,  # type: ignore[arg-type] # nobody is told
        metrics=metrics,
    )
    despatch.record(MESSAGE, PLAN, started=time.monotonic() - 5, answer="reject")


def test_what_became_of_a_message_is_counted() -> None:
    """With its answer, its recipients, and the seconds since it began."""
    metrics = Counting()

    record(Telling(), metrics)

    ((answer, seconds, judgements),) = metrics.answers
    assert (answer, judgements) == ("reject", 1)
    assert 5 <= seconds < 60


def test_it_need_not_be_counted() -> None:
    """Without metrics it is recorded all the same."""
    world = Telling()

    record(world, None)

    assert ["bob@out.test"] == [one.recipient for one in world.events]
