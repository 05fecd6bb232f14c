"""The journal's store, in memory and in SQL: both keep to the same rules."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.conftest import ENGINES
from tests.fakes import FakeJournal, World

from gatepost.db.engine import Database
from gatepost.db.journal import SqlJournal
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.directory.key import Key, Trust
from gatepost.gateway.entry import Entry, JournalStore, Lease, Progress, State
from gatepost.gateway.resume import copy_of
from gatepost.message.address import parse
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOB, CAROL = (
    Recipient(parse(b"<Bob@p.test>"), ("NOTIFY=NEVER", "x\udcff")),
    Recipient(parse("<kä@hosp.test>".encode())),
)
PLAIN = Judgement(CAROL, Direction.INTERNAL, Demand.NONE, (), Treatment.PASS, ("nothing demands protection",))
ENCRYPTED = Judgement(
    BOB,
    Direction.OUT,
    Demand.ENCRYPT,
    ("a rule",),
    Treatment.OPENPGP,
    ("rule 'a rule' demands encrypt", "ü"),
    keys=(Key("FPR", "openpgp", "p.test", b"", Trust.WKD),),
    nexthop="[mx.p.test]:25",
    mark=True,
    notify=True,
)
PLAN = Plan(
    Answer.ACCEPT,
    (PLAIN, ENCRYPTED),
    (copy_of([PLAIN], in_place=True), copy_of([ENCRYPTED], in_place=False)),
)


@pytest.fixture(params=["memory", *ENGINES])
def store(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[JournalStore]:
    if request.param == "memory":
        yield FakeJournal(World())
        return
    database = Database(new_database(request.param))
    yield SqlJournal(database)
    database.close()


def entry(key: bytes = bytes(32), *, settled: bool = False) -> Entry:
    return Entry(key, uuid4(), "4QID", PLAN, (Progress(), Progress(State.SENDING)), settled)


def lease(seconds: float = 60, holder: str = "host socket") -> Lease:
    return Lease(holder, uuid4(), NOW + timedelta(seconds=seconds))


def test_every_value_comes_back(store: JournalStore) -> None:
    """Plan and progress come back as they were, addresses and parameters byte for byte."""
    written = entry()

    assert store.find(written.key) is None
    assert store.add(written, lease(), NOW, over_settled=False)
    assert store.find(written.key) == written


def test_progress_is_kept_under_the_lease(store: JournalStore) -> None:
    """Whoever holds the lease writes what has become of it; nobody else can."""
    written, mine = entry(), lease()
    store.add(written, mine, NOW, over_settled=False)
    later = replace(written, progress=(Progress(repeated=True), Progress(State.SUBMITTED, "4NEW")), settled=True)

    assert not store.save(later, lease(), NOW)
    assert store.find(written.key) == written
    assert store.save(later, mine, NOW)
    assert store.find(written.key) == later


def test_one_of_two_adds_wins(store: JournalStore) -> None:
    """The second finds that an entry is there, settled or not, and changes nothing."""
    first = entry()
    store.add(first, lease(), NOW, over_settled=False)

    assert not store.add(entry(), lease(), NOW, over_settled=False)
    assert not store.add(entry(), lease(), NOW, over_settled=True)
    assert store.find(first.key) == first


def test_a_settled_entry_gives_way_if_it_may(store: JournalStore) -> None:
    """A message that is another takes the place of an equal one that is done."""
    store.add(entry(settled=True), lease(), NOW, over_settled=False)
    other = entry()

    assert not store.add(other, lease(), NOW, over_settled=False)
    assert store.add(other, lease(), NOW, over_settled=True)
    assert store.find(other.key) == other


def test_a_lease_is_taken_when_the_last_is_over(store: JournalStore) -> None:
    """Until then nobody gets it; afterwards one does, and who held it can write no more."""
    written, old = entry(), lease(60)
    store.add(written, old, NOW, over_settled=False)

    assert not store.claim(written.key, lease(), NOW + timedelta(seconds=59))
    new = lease(120)
    assert store.claim(written.key, new, NOW + timedelta(seconds=60))
    assert not store.claim(written.key, lease(180), NOW + timedelta(seconds=61))
    assert not store.save(written, old, NOW + timedelta(seconds=61))
    assert store.save(written, new, NOW + timedelta(seconds=61))


def test_there_is_no_lease_of_nothing(store: JournalStore) -> None:
    """An entry that is not there cannot be claimed or written."""
    assert not store.claim(bytes(32), lease(), NOW)
    assert not store.save(entry(), lease(), NOW)


def test_a_milter_that_starts_anew_frees_its_own(store: JournalStore) -> None:
    """What it held before it was killed can be taken at once, by it or another; others' leases stay."""
    mine, others = entry(b"m" * 32), entry(b"o" * 32)
    old = lease(60, "here")
    store.add(mine, old, NOW, over_settled=False)
    store.add(others, lease(60, "there"), NOW, over_settled=False)

    store.free("here", NOW)

    assert not store.save(mine, old, NOW)
    assert store.claim(mine.key, lease(), NOW)
    assert not store.claim(others.key, lease(), NOW)


@pytest.mark.parametrize(
    ("settled", "days", "gone"), [(True, 0.9, False), (True, 1.1, True), (False, 6.9, False), (False, 7.1, True)]
)
def test_what_is_old_is_purged(store: JournalStore, settled: bool, days: float, gone: bool) -> None:
    """An entry is kept a day after the verdict, seven days without one."""
    written = entry(settled=settled)
    store.add(written, lease(), NOW, over_settled=False)
    now = NOW + timedelta(days=days)

    assert int(gone) == store.purge(now - timedelta(days=1), now - timedelta(days=7))
    assert gone == (store.find(written.key) is None)
