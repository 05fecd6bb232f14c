"""Senders of mail that waits for verified TLS: who is told, what, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes import World

from gatepost.decision.condition import AllOf, AnyOf, DirectionIs, Everything, SubjectTag
from gatepost.decision.demand import Demand
from gatepost.decision.rules import Rule, RuleSet
from gatepost.errors import DeliveryError
from gatepost.gateway.aliases import Aliases, nowhere_else
from gatepost.gateway.deferral import Deferral
from gatepost.gateway.delivery import Copy, Status
from gatepost.gateway.notices import Notices
from gatepost.gateway.telling import Telling
from gatepost.message.address import Address, parse
from gatepost.message.direction import Direction
from gatepost.message.subject import MARK, Tags

ADMIN = parse(b"<admin@hosp.test>")
COPY = Copy(
    queue_id="COPY01",
    recipient="b@p.test",
    message="MESSAGE1",
    message_id="<1@hosp.test>",
    sender="ann@hosp.test",
    demand="tls",
    treatment="tls",
    status=Status.DEFERRED,
    dsn="4.7.5",
    waited=4000,
)


@dataclass
class Desk:
    """Copies that wait, and what is sent about them; at most three notices an hour for one person."""

    copies: list[Copy] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    world: World = field(default_factory=World)
    sent: dict[bytes, tuple[str, datetime]] = field(default_factory=dict)
    now: datetime = datetime(2026, 5, 1, tzinfo=UTC)

    def untold(self, seconds: int) -> Sequence[Copy]:
        assert seconds == 3600
        return [one for one in self.copies if one.message not in self.told]

    def tell(self, message: str) -> None:
        self.told.append(message)

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:
        recent = [one for one in self.sent.values() if one[0] == recipient and one[1] > at - timedelta(hours=1)]
        if digest in self.sent or len(recent) >= per_hour:
            return False
        self.sent[digest] = (recipient, at)
        return True

    def forget(self, digest: bytes) -> None:
        del self.sent[digest]

    def deferral(self, tag: str = "*secure*") -> Deferral:
        def inside(one: Address) -> bool:
            return one.domain == "hosp.test"

        notices = Notices(log=self, admin=ADMIN, hostname="gw.hosp.test", per_hour=3, clock=lambda: self.now)
        telling = Telling(notices=notices, aliases=Aliases(nowhere_else, inside), submitter=self.world)
        return Deferral(self, notices, telling, inside, tag, 3600, 60.0)

    def texts(self) -> list[tuple[str, str]]:
        """Give to whom each notice went, and what it says."""
        return [(one.recipients[0].address.text, one.body.read().decode()) for one in self.world.submitted]


@pytest.fixture
def desk() -> Desk:
    return Desk([COPY])


def test_the_sender_learns_it_once(desk: Desk) -> None:
    """One notice, from the null sender, however often somebody looks, and though what was noted is lost."""
    deferral = desk.deferral()
    assert [deferral.tell() for _ in range(3)] == [1, 0, 0]
    desk.told.clear()
    assert deferral.tell() == 1

    ((recipient, text),) = desk.texts()
    assert recipient == "ann@hosp.test"
    assert desk.world.submitted[0].sender.is_null
    assert "waiting at the mail gateway for 66 minutes" in text
    assert "b@p.test: the server's certificate could not be verified (4.7.5)" in text
    assert "send it again with *secure* in the subject" in text
    assert "queue ID MESSAGE1" in text


def test_without_another_way(desk: Desk) -> None:
    """Where no rule offers a tag, the notice names the postmaster alone."""
    desk.deferral(tag="").tell()
    ((_, text),) = desk.texts()
    assert "in the subject" not in text
    assert "ask your postmaster" in text


def test_one_notice_for_a_message(desk: Desk) -> None:
    """All recipients of a message stand in one notice, each message has its own."""
    desk.copies = [
        COPY,
        replace(COPY, recipient="c@q.test", dsn="4.4.1", waited=20),
        replace(COPY, message="MESSAGE2", recipient="d@r.test", dsn="4.7.4"),
    ]
    assert desk.deferral().tell() == 2
    (_, first), (_, second) = desk.texts()
    assert "c@q.test: the server could not be reached (4.4.1)" in first
    assert "d@r.test" not in first
    assert "d@r.test: the server does not offer TLS (4.7.4)" in second


@pytest.mark.parametrize(
    "copy",
    [
        replace(COPY, automatic=True),
        replace(COPY, sender=""),
        replace(COPY, sender="eve@elsewhere.test"),
        replace(COPY, sender="no address"),
    ],
    ids=["automatic", "null sender", "outside", "unreadable"],
)
def test_the_admin_instead(desk: Desk, copy: Copy) -> None:
    """Who is no person, outside or unknown gets no notice; the admin does."""
    desk.copies = [copy]
    desk.deferral().tell()
    assert [recipient for recipient, _ in desk.texts()] == ["admin@hosp.test"]


def test_too_many(desk: Desk) -> None:
    """One sender gets so many an hour; the rest is dropped, not told an hour later."""
    desk.copies = [replace(COPY, message=f"MESSAGE{number}") for number in range(9)]
    deferral = desk.deferral()
    assert deferral.tell() == 9
    desk.now += timedelta(hours=2)
    deferral.tell()
    assert len(desk.texts()) == 3


def test_a_listener_that_is_down(desk: Desk) -> None:
    """What could not be sent is sent later; what may have gone is not sent again."""
    deferral = desk.deferral()
    desk.world.faults["submit"] = DeliveryError("down")
    assert deferral.tell() == 0
    desk.world.faults["submit"] = DeliveryError("reply lost", uncertain=True)
    assert deferral.tell() == 1
    del desk.world.faults["submit"]
    assert deferral.tell() == 0
    assert desk.texts() == []


def test_what_strangers_wrote(desk: Desk) -> None:
    """Nothing that stands in the log adds a line to the notice."""
    desk.copies = [replace(COPY, recipient='"a\r\nX: y"@p.test', message_id="<x\r\ny>")]
    desk.deferral().tell()
    ((_, text),) = desk.texts()
    assert "\nX:" not in text
    assert "\ny>" not in text


def rule(condition: object, demand: Demand = Demand.ENCRYPT, **more: bool) -> Rule:
    return Rule("r", condition, demand, **more)  # type: ignore[arg-type]


TAG = SubjectTag(frozenset({"[x]", "*y*"}))
OUT = DirectionIs(frozenset({Direction.OUT}))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (rule(TAG), "*y*"),
        (rule(AllOf((OUT, TAG))), "*y*"),
        (rule(TAG, Demand.TLS), ""),
        (rule(TAG, pilot=True), ""),
        (rule(AnyOf((OUT, TAG))), ""),
        (rule(AllOf((Everything(), TAG))), ""),
        (rule(SubjectTag(frozenset({MARK}))), ""),
    ],
)
def test_the_tag_that_is_named(one: Rule, expected: str) -> None:
    """A tag that alone asks for encryption, the first that the rules name; never the mark of outsiders."""
    assert RuleSet((one,), Tags.of(["*y*", "[x]", MARK])).encrypting_tag == expected
