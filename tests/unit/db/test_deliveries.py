"""What the log tells of protected copies is recorded once, whatever fails; of other mail nothing is kept."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests.fakes import FakeRecord

from gatepost.crypto.proof import Prover
from gatepost.db.deferrals import SqlWaiting
from gatepost.db.deliveries import SqlDeliveries, chain_of
from gatepost.db.engine import Database
from gatepost.db.events import SqlEvents
from gatepost.db.stamps import SqlStamps, snapshot
from gatepost.db.tables import metadata
from gatepost.db.writer import Writer
from gatepost.directory.audit import audit
from gatepost.directory.event import DELIVERY, Event
from gatepost.errors import StorageError
from gatepost.gateway import following
from gatepost.gateway.delivery import Delivery, Session, Status
from gatepost.gateway.following import Change, Follower, Position
from gatepost.gateway.history import history
from gatepost.workers.heads import Heads
from gatepost.workers.stamper import Stamper

HOST = "gw unix:/run/milter.sock"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
VERIFIED = Session("Verified", "TLSv1.3", "TLS_AES_256_GCM_SHA384")
RELAY = "mx.p.test[192.0.2.1]:25"
OK = Delivery(NOW.timestamp(), "COPY01", Status.SENT, "b@p.test", "", RELAY, 0.5, "2.0.0", "250 ok", VERIFIED)
LATER = replace(OK, status=Status.DEFERRED, dsn="4.7.5", reply="Server certificate not verified", session=None)


@dataclass
class FakeLog:
    """A log of deliveries; a place is how many were read."""

    lines: list[Delivery] = field(default_factory=list)
    at: int = 0

    def begin(self, place: str) -> None:
        self.at = int(place) if place else len(self.lines)

    def read(self) -> Sequence[Delivery]:
        new = self.lines[self.at :]
        self.at = len(self.lines)
        return new

    @property
    def place(self) -> str:
        return str(self.at)


class Site:
    """A database with a milter's record, and a follower of its log."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.log = FakeLog()
        self.now = NOW
        self.store = SqlDeliveries(database, HOST, lambda: self.now)
        self.follower = Follower(log=self.log, store=self.store)
        self.turn()

    def decide(self, *events: Event, host: str = HOST) -> None:
        writer = Writer(self.database, host)
        writer.post(FakeRecord(*events))
        writer.close()

    def turn(self, *lines: Delivery) -> int:
        self.log.lines += lines
        self.follower.look()
        return self.follower.note()

    def deliveries(self, name: str = "MESSAGE1") -> list[tuple[str, str, object]]:
        found = SqlEvents(self.database).find(name)
        return [(one.recipient, one.queue_id, one.detail["status"]) for one in found if one.kind == DELIVERY]


def decided(
    recipient: str = "b@p.test",
    *,
    message: str = "MESSAGE1",
    copy: str = "COPY01",
    treatment: str = "tls",
    kind: str = "message",
    direction: str = "out",
) -> Event:
    return Event(
        at=NOW.timestamp(),
        kind=kind,  # type: ignore[arg-type]
        queue_id=message,
        message_id="<1@hosp.test>",
        direction=direction,
        sender="a@hosp.test",
        recipient=recipient,
        demand="tls",
        treatment=treatment,
        detail={"queued_as": copy} if copy else {},
    )


@pytest.fixture
def site(database: Database) -> Site:
    return Site(database)


def rows(site: Site, table: str) -> int:
    with site.database.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(metadata.tables[table])) or 0)


def test_a_copy_that_went(site: Site) -> None:
    """The event names the copy, its message, the relay and the session, and is found from either end."""
    site.decide(decided())
    assert site.turn(OK) == 1

    for name in ("MESSAGE1", "COPY01", "1@hosp.test"):
        (one,) = history(SqlEvents(site.database).find(name))
        (delivery,) = one.deliveries
        assert delivery.at == OK.at
        assert (delivery.queue_id, delivery.recipient, delivery.treatment) == ("COPY01", "b@p.test", "tls")
        assert delivery.detail == {
            "message": "MESSAGE1",
            "status": "sent",
            "dsn": "2.0.0",
            "relay": RELAY,
            "delay": 0.5,
            "reply": "250 ok",
            "tls": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "peer": "Verified",
        }


def test_a_copy_in_place(site: Site) -> None:
    """The copy that stays in place has its message's queue ID."""
    site.decide(decided(copy="", treatment="openpgp"), decided("i@hosp.test", copy="", treatment="pass"))
    site.turn(replace(OK, queue_id="MESSAGE1"), replace(OK, queue_id="MESSAGE1", recipient="i@hosp.test"))
    assert site.deliveries() == [("b@p.test", "MESSAGE1", "sent")]


@pytest.mark.parametrize(
    "event",
    [
        decided(treatment="pass"),
        decided(treatment="quarantine", copy=""),
        decided(direction="in"),
        decided(treatment="openpgp", kind="release", copy=""),
        decided(copy="250 2.0.0 Ok, but no queue ID"),
    ],
    ids=["passed", "held", "came in", "released in no queue", "no queue ID"],
)
def test_what_is_not_followed(site: Site, event: Event) -> None:
    """Nothing is kept of mail that was passed, held or came in, neither before nor after its record is there."""
    lines = [OK, replace(OK, queue_id="MESSAGE1")]
    site.turn(*lines)
    site.decide(event)
    site.turn()
    site.turn(*lines)
    site.turn()
    assert site.deliveries() == []
    assert rows(site, "queued_copy") == 0 or event.kind == "message"


def test_passed_mail_leaves_nothing(site: Site) -> None:
    """Once the record of passed mail is there, nothing of its deliveries is."""
    line = replace(OK, queue_id="MESSAGE1")
    site.turn(line)
    assert rows(site, "early_delivery") == 1
    site.decide(decided(treatment="pass", copy=""))
    site.turn()
    site.turn(line)
    assert (rows(site, "early_delivery"), rows(site, "queued_copy"), site.deliveries()) == (0, 0, [])


def test_delivered_before_its_record(site: Site) -> None:
    """A copy of a message that is still being worked on is delivered: its line waits for the record."""
    site.turn(LATER, OK)
    assert site.deliveries() == []
    site.decide(decided())
    site.turn()
    assert [status for _, _, status in site.deliveries()] == ["deferred", "sent"]
    assert rows(site, "early_delivery") == 0


def test_only_news_makes_events(site: Site) -> None:
    """A mail server tries again and again; what it tells anew is recorded, and what comes after the end is not."""
    site.decide(decided())
    lines = [
        replace(LATER, delay=10.0),
        replace(LATER, delay=300.0),
        replace(LATER, delay=900.0, dsn="4.4.1"),
        replace(OK, delay=2000.0),
        replace(OK, delay=2001.0),
    ]
    assert [site.turn(one) for one in lines] == [1, 0, 1, 1, 0]
    assert [status for _, _, status in site.deliveries()] == ["deferred", "deferred", "sent"]


def test_after_the_end(site: Site) -> None:
    """What was delivered stays delivered, whatever is told of it afterwards."""
    site.decide(decided())
    assert [site.turn(OK), site.turn(LATER), site.turn(replace(OK, status=Status.BOUNCED))] == [1, 0, 0]
    assert site.deliveries() == [("b@p.test", "COPY01", "sent")]


def test_more_decisions_than_are_read_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines wait until all decisions are known, also where one message's are read in parts."""
    monkeypatch.setattr(following, "_AT_ONCE", 2)
    passed = [decided(f"{number}@p.test", copy="", treatment="pass") for number in range(4)]
    site.decide(*passed, decided(copy="", treatment="openpgp"))
    line = replace(OK, queue_id="MESSAGE1")
    later = replace(LATER, queue_id="MESSAGE1")
    assert [site.turn(later), site.turn(), site.turn(), site.turn(line)] == [0, 0, 1, 1]
    assert [status for _, _, status in site.deliveries()] == ["deferred", "sent"]
    assert rows(site, "early_delivery") == 0


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.DELETED])
def test_the_end_of_a_whole_copy(site: Site, status: Status) -> None:
    """Expiry concerns those who did not get it, and nobody else."""
    site.decide(decided(), decided("c@p.test"))
    site.turn(OK, replace(LATER, recipient="c@p.test"), Delivery(OK.at, "COPY01", status))
    assert site.deliveries() == [
        ("b@p.test", "COPY01", "sent"),
        ("c@p.test", "COPY01", "deferred"),
        ("c@p.test", "COPY01", status),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (replace(OK, recipient="B@P.test"), ["b@p.test"]),
        (replace(OK, recipient="x@elsewhere.test", original="b@p.test"), ["b@p.test"]),
        (replace(OK, recipient="x@elsewhere.test"), []),
    ],
    ids=["case", "rewritten", "somebody else"],
)
def test_whose_delivery_it_is(site: Site, line: Delivery, expected: list[str]) -> None:
    """A recipient is known whatever its case and by the address that it had; nobody is guessed among several."""
    site.decide(decided(), decided("c@p.test"))
    site.turn(line)
    assert [recipient for recipient, _, _ in site.deliveries()] == expected


def test_a_message_that_comes_again(site: Site) -> None:
    """A retry whose copy an earlier try submitted tells how that one went."""
    site.decide(decided())
    site.turn(OK)
    site.decide(decided(message="MESSAGE2"))
    site.turn()
    found = [one for one in history(SqlEvents(site.database).find("MESSAGE2")) if one.event.queue_id == "MESSAGE2"]
    assert [len(one.deliveries) for one in found] == [1]
    assert rows(site, "queued_copy") == 1


def test_other_hosts_are_left_alone(site: Site) -> None:
    """A queue ID means a copy on one host only."""
    site.decide(decided(), host="other")
    site.turn(OK)
    assert site.deliveries() == []


def test_two_followers(site: Site) -> None:
    """A second process that follows the same log writes nothing twice: it is told, and begins anew."""
    other = Follower(log=FakeLog(site.log.lines), store=SqlDeliveries(site.database, HOST))
    other.look()
    site.decide(decided())
    site.turn(OK)
    with pytest.raises(StorageError, match="another process follows"):
        other.note()
    other.look()
    other.note()
    assert len(site.deliveries()) == 1


def test_the_chain_is_proven(site: Site, tmp_path: Path) -> None:
    """Deliveries have a chain of their own: it is stamped with the milter's, audited, and expires."""
    prover = Prover(b"s" * 32)
    site.decide(decided())
    site.turn(LATER, OK)
    chains = (HOST, chain_of(HOST))
    stamper = Stamper(
        hosts=chains,
        store=SqlStamps(site.database),
        prover=prover,
        heads=Heads(tmp_path / "state"),
        keep=timedelta(days=30),
        clock=lambda: site.now,
    )
    assert stamper.stamp() == 3
    with site.database.writing() as connection:
        connection.exec_driver_sql("UPDATE event SET detail = '{}' WHERE kind = 'delivery' AND sequence = 2")
    with snapshot(site.database) as record:
        found = [
            audit(host, record, lambda some: [prover.proves(one.statement(), one.code) for one in some], None)
            for host in chains
        ]
    assert [[(one.fault, one.sequence) for one in each.breaks] for each in found] == [[], [("changed", 2)]]
    site.now += timedelta(days=31)
    stamper.purge()
    assert rows(site, "event") == 0


def test_sign_of_life(database: Database) -> None:
    """The place is noted at once, and again after a minute, though nothing is logged; a restart begins there."""
    now = 0.0
    store = SqlDeliveries(database, HOST, lambda: NOW + timedelta(seconds=now))
    assert store.seen() is None
    follower = Follower(log=FakeLog(), store=store, clock=lambda: now)
    for now in (0.0, 30.0, 61.0, 62.0):  # noqa: B007 - read by the clocks
        follower.look()
        follower.note()
    assert store.seen() == NOW + timedelta(seconds=61)


def test_purge(site: Site) -> None:
    """What is over is deleted: delivered copies soon, those that nothing is told of later, kept lines in a day."""
    site.decide(decided(), decided("c@p.test", copy="COPY02"))
    site.turn(OK, replace(OK, queue_id="UNKNOWN1"))
    assert site.store.purge() == 0
    site.now += timedelta(days=3)
    assert site.store.purge() == 2
    assert (rows(site, "queued_copy"), rows(site, "early_delivery")) == (1, 0)
    site.now += timedelta(days=30)
    assert site.store.purge() == 1


class Unreliable:
    """A store whose writes fail now and then, before they count or after."""

    def __init__(self, store: SqlDeliveries, chance: random.Random) -> None:
        self._store = store
        self._chance = chance

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def write(self, change: Change, before: Position | None, after: Position) -> None:
        if self._chance.random() < 0.3:
            raise StorageError("the database is down")
        self._store.write(change, before, after)
        if self._chance.random() < 0.3:
            raise StorageError("the database did not answer")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_or_written_twice(site: Site, seed: int) -> None:
    """However writes fail, replies are lost and followers are started anew, each delivery has one event."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    work: list[Callable[[], object]] = []
    expected = []
    for number in range(40):
        copy, recipient = f"COPY{number:02}", f"{number}@p.test"
        event = decided(recipient, copy=copy, message=f"MESSAGE{number}")
        line = replace(OK, queue_id=copy, recipient=recipient)
        steps = [lambda event=event: site.decide(event), lambda line=line: site.log.lines.append(line)]  # type: ignore[misc]
        work += steps if chance.random() < 0.5 else reversed(steps)
        expected.append((recipient, copy, "sent"))

    def started() -> Follower:
        store = Unreliable(SqlDeliveries(site.database, HOST), chance)
        return Follower(log=FakeLog(site.log.lines), store=store)  # type: ignore[arg-type]

    follower = started()

    def turn(follower: Follower) -> None:
        for step in (follower.look, follower.note):
            try:
                step()
            except StorageError:
                return

    for step in work:
        step()
        turn(follower)
        if chance.random() < 0.2:
            follower = started()
    for _ in range(50):
        turn(follower)
    assert sorted(_all_deliveries(site)) == sorted(expected)


def _all_deliveries(site: Site) -> Iterable[tuple[str, str, object]]:
    for one in SqlEvents(site.database).following(chain_of(HOST), 0, 1000):
        yield one.event.recipient, one.event.queue_id, one.event.detail["status"]


class TestWaiting:
    def test_untold(self, site: Site) -> None:
        """Copies by TLS that wait are given with their message's others, once one has waited for long enough."""
        waiting = SqlWaiting(site.database, HOST)
        site.decide(
            decided(),
            decided("c@q.test", copy="COPY02"),
            decided("d@r.test", copy="COPY03", treatment="openpgp"),
            decided("e@s.test", copy="COPY04"),
        )
        site.turn(
            replace(LATER, delay=3599.0),
            replace(LATER, queue_id="COPY02", recipient="c@q.test", delay=10.0),
            replace(LATER, queue_id="COPY03", recipient="d@r.test", delay=9999.0),
            replace(OK, queue_id="COPY04", recipient="e@s.test", delay=9999.0),
        )
        assert waiting.untold(3600) == []
        site.turn(replace(LATER, delay=3600.0))
        assert [(one.recipient, one.waited) for one in waiting.untold(3600)] == [
            ("b@p.test", 3600),
            ("c@q.test", 10),
        ]

    def test_told(self, site: Site) -> None:
        """Once told, a message stays told, whatever the log says next; another one is told for itself."""
        waiting = SqlWaiting(site.database, HOST)
        site.decide(decided(), decided("c@q.test", copy="COPY02", message="MESSAGE2"))
        site.turn(
            replace(LATER, delay=4000.0), replace(LATER, queue_id="COPY02", recipient="c@q.test", delay=4000.0)
        )
        waiting.tell("MESSAGE1")
        site.turn(replace(LATER, delay=8000.0, dsn="4.4.1"))
        assert [one.message for one in waiting.untold(3600)] == ["MESSAGE2"]
        assert SqlWaiting(site.database, "other").untold(0) == []
