"""The journal's rules, over a store in memory."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.fakes import FakeJournal, World

from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.errors import DeliveryError
from gatepost.gateway.budget import Budget
from gatepost.gateway.entry import Entry, Progress, State
from gatepost.gateway.journal import Attempt, Journal
from gatepost.gateway.resume import copy_of
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOB, EVE = Recipient(parse(b"<bob@x.test>")), Recipient(parse(b"<eve@x.test>"))
ID = Field(b"Message-ID", b" <1@hosp.test>")
JUDGEMENTS = tuple(Judgement(one, Direction.OUT, Demand.TLS, (), Treatment.TLS, ()) for one in (BOB, EVE))
PLAN = Plan(Answer.DISCARD, JUDGEMENTS, (copy_of(JUDGEMENTS, in_place=False),))


class Site:
    """A journal, its store and its clock."""

    def __init__(self, rows: FakeJournal | None = None) -> None:
        self.rows = rows or FakeJournal(World())
        self.now = NOW
        self.journal = Journal(self.rows, holder="here", clock=lambda: self.now)

    def attempt(self, *fields: Field, queue_id: str = "4XYZ") -> Attempt:
        message = Transaction(
            Client(), parse(b"<a@hosp.test>"), (), (BOB, EVE), fields, MemoryBody(b"body\r\n"), queue_id
        )
        return self.journal.attempt(message, Budget(60, keepalive=lambda: None), inside=True)


class Vanishing(FakeJournal):
    """A store whose entry is deleted as soon as its lease was taken."""

    def claim(self, *arguments: object) -> bool:
        self.rows.clear()
        return bool(arguments)


def begun(site: Site, *, settled: bool) -> None:
    with site.attempt(ID) as attempt:
        attempt.find()
        attempt.begin(PLAN)
        if settled:
            attempt.settle()


@pytest.mark.parametrize(
    ("settled", "age", "gone"),
    [
        (True, timedelta(hours=23), 0),
        (True, timedelta(hours=25), 1),
        (False, timedelta(days=6, hours=23), 0),
        (False, timedelta(days=7, hours=1), 1),
    ],
)
def test_entries_are_kept_as_long_as_a_retry_may_need_them(settled: bool, age: timedelta, gone: int) -> None:
    """A settled entry stays a day, another as long as any client tries; purging tells how many went."""
    site = Site()
    begun(site, settled=settled)
    site.now += age

    assert site.journal.purge() == gone
    assert len(site.rows.rows) == 1 - gone


def test_another_try_is_put_off_until_the_lease_ends() -> None:
    """Who works on a message holds its lease for what a message may take and a margin for the clocks."""
    site = Site()
    first = site.attempt(ID)
    first.find()
    first.begin(PLAN)

    site.now += timedelta(seconds=115)
    with pytest.raises(DeliveryError, match="another try"):
        site.attempt(ID).find()
    site.now += timedelta(seconds=6)
    assert site.attempt(ID).find() is not None
    with pytest.raises(DeliveryError, match="another try"):
        first.settle()


def test_an_entry_that_vanishes_puts_the_try_off() -> None:
    """An entry deleted between two looks is no ground to begin anew: what it knew is not known."""
    site = Site(Vanishing(World()))
    begun(site, settled=False)

    with pytest.raises(DeliveryError, match="another try"):
        site.attempt(ID).find()


def test_steps_in_the_wrong_order_are_refused() -> None:
    """Nothing is begun where an earlier try was not looked for, and nothing held without an entry."""
    attempt = Site().attempt()

    with pytest.raises(RuntimeError, match="looked for"):
        attempt.begin(PLAN)
    with pytest.raises(RuntimeError, match="under an entry"):
        attempt.name_of_copy([BOB])


def test_without_an_entry_nothing_is_written_or_known() -> None:
    """A message that leaves as one copy in place costs nothing."""
    site = Site()
    with site.attempt() as attempt:
        assert attempt.find() is None
        attempt.mark([BOB], State.SENDING)
        attempt.save()
        attempt.settle()
        known = (attempt.submitted(), attempt.repeated(), attempt.details(), attempt.with_earlier(PLAN))

    assert known == ((), frozenset(), {}, PLAN)
    assert site.rows.rows == {}


def test_what_became_of_each_copy_is_told() -> None:
    """Marked is only who is meant; details name the queue ID, and those who may get it twice."""
    site = Site()
    with site.attempt(ID) as first:
        first.find()
        first.begin(PLAN)
        first.mark([BOB], State.SUBMITTED, "4NEW")
        first.mark([EVE], State.SENDING)
    with site.attempt(ID) as second:
        found = second.find()

        assert isinstance(found, Entry)
        assert [one.state for one in found.progress] == [State.SUBMITTED, State.PENDING]
        assert [one.recipient for one in second.submitted()] == [BOB]
        assert second.repeated() == {EVE}
        assert second.details() == {BOB: {"queued_as": "4NEW"}, EVE: {"possible-duplicate": True}}


def test_held_copies_keep_their_name() -> None:
    """Each try gives the same copy the same name, and other recipients another."""
    site = Site()
    names: list[UUID] = []
    for _ in range(2):
        with site.attempt(ID) as attempt:
            if attempt.find() is None:
                attempt.begin(PLAN)
            names += [attempt.name_of_copy([BOB]), attempt.name_of_copy([BOB, EVE])]

    assert names[:2] == names[2:]
    assert names[0] != names[1]


def test_earlier_recipients_stay_known() -> None:
    """A release that names fewer recipients than an earlier try forgets nobody, and names nobody twice."""
    site = Site()
    with site.attempt(ID) as attempt:
        attempt.find()
        attempt.begin(PLAN)

        less = Plan(Answer.DISCARD, JUDGEMENTS[:1], ())
        assert attempt.with_earlier(less).judgements == JUDGEMENTS


def test_starting_anew_ends_the_leases() -> None:
    """A milter that was killed and started again finds its messages free at once."""
    site = Site()
    attempt = site.attempt(ID)
    attempt.find()
    attempt.begin(PLAN)

    site.journal.free()

    assert site.attempt(ID).find() is not None


def test_a_plan_over_an_earlier_one() -> None:
    """A new plan keeps what earlier tries did of its recipients, and is not settled until its own verdict."""
    site = Site()
    begun(site, settled=True)
    with site.attempt(ID) as attempt:
        attempt.find()
        attempt.mark([EVE], State.SUBMITTED, "4NEW")
        attempt.begin(Plan(Answer.DISCARD, JUDGEMENTS[1:], ()))

    (entry, _, _) = site.rows.rows[next(iter(site.rows.rows))]
    assert [one.recipient for one in entry.plan.judgements] == [EVE]
    assert [one.queue_id for one in entry.progress] == ["4NEW"]
    assert not entry.settled


def test_what_is_stored_is_not_written_again() -> None:
    """A save without a change costs nothing."""
    world = World()
    site = Site(FakeJournal(world))
    attempt = site.attempt(ID)
    attempt.find()
    attempt.begin(PLAN)
    world.happened.clear()

    attempt.save()

    assert world.happened == []


def test_what_has_not_begun_is_neither_done_nor_repeated() -> None:
    """Progress begins with a copy that nobody has tried to send."""
    progress = Progress()

    assert progress.state is State.PENDING
    assert not progress.done
    assert not progress.repeated
