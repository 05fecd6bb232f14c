"""What expires: the admin is told on the days that are named, once each, and of nothing that leaves no gap."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes import World

from gatepost.errors import DeliveryError, GatepostError
from gatepost.gateway import expiring
from gatepost.gateway.aliases import Aliases, nowhere_else
from gatepost.gateway.expiring import Ending, Expiring
from gatepost.gateway.notices import Notices
from gatepost.gateway.telling import Telling
from gatepost.message.address import Address, parse
from gatepost.mta import doctor

NOW = datetime(2026, 5, 1, tzinfo=UTC)
END = NOW + timedelta(days=100)
OURS = Ending("AA" * 20, "openpgp", "hosp.test", own=True, expires=END)
THEIRS = Ending("BB" * 32, "smime", "bob@p.test", own=False, expires=END)
ROOT = Ending("CC" * 32, "authority", "", own=True, expires=END)


@dataclass
class Desk:
    """What expires, what was told, and what was sent."""

    endings: list[Ending]
    now: datetime = NOW
    told: set[bytes] = field(default_factory=set)
    world: World = field(default_factory=World)

    def between(self, now: datetime, until: datetime) -> tuple[Ending, ...]:
        return tuple(one for one in self.endings if now < one.expires <= until)

    def claim_new(self, digests: Sequence[bytes], at: datetime) -> frozenset[bytes]:
        assert at == self.now
        new = frozenset(digests) - self.told
        self.told |= new
        return new

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:
        raise AssertionError((digest, recipient, at, per_hour))  # it counts for no limit of a recipient's

    def forget(self, digest: bytes) -> None:
        self.told.remove(digest)

    def expiring(self, days: Sequence[int] = (30, 14, 7, 1)) -> Expiring:
        def inside(one: Address) -> bool:
            return one.domain == "hosp.test"

        admin = parse(b"<admin@hosp.test>")
        notices = Notices(log=self, admin=admin, hostname="gw.hosp.test", clock=lambda: self.now)
        return Expiring(
            endings=self,
            log=self,
            notices=notices,
            telling=Telling(notices=notices, aliases=Aliases(nowhere_else, inside), submitter=self.world),
            days=days,
            patience=60.0,
            clock=lambda: self.now,
        )

    def texts(self) -> list[str]:
        return [one.body.read().decode() for one in self.world.submitted]


@pytest.fixture
def desk() -> Desk:
    return Desk([OURS])


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Note the log's lines."""
    lines: list[tuple[str, object]] = []

    class Logger:
        def warning(self, event: str, **names: object) -> None:
            lines.append((event, names["keys"]))

        def error(self, event: str, **names: object) -> None:
            lines.append((event, names["cause"]))

    monkeypatch.setattr(expiring, "logger", Logger())
    return lines


def test_told_on_each_day_once(desk: Desk) -> None:
    """Two hosts look every hour for all of its life: it is told on the days that are named, and no more."""
    hosts = [desk.expiring(), desk.expiring()]
    days: list[int] = []
    while desk.now < END + timedelta(days=3):
        days += [(END - desk.now).days for host in hosts if host.tell()]
        desk.now += timedelta(hours=1)

    assert days == [30, 14, 7, 1]
    assert len(desk.world.submitted) == 4
    assert {one.sender.is_null for one in desk.world.submitted} == {True}
    assert {one.recipients[0].address.text for one in desk.world.submitted} == {"admin@hosp.test"}


@pytest.mark.parametrize(("left", "told"), [(40, 0), (29, 1), (5, 1), (0.5, 1), (-1, 0)])
def test_what_comes_late_is_told_at_once(desk: Desk, left: float, told: int) -> None:
    """A key that was imported with few days left is told once now; one that has expired is not."""
    desk.now = END - timedelta(days=left)

    assert [desk.expiring().tell() for _ in range(2)] == [told, 0]


def test_one_notice_tells_all(desk: Desk, logged: list[tuple[str, object]]) -> None:
    """What is due at one time stands in one notice, with what to do, and in one line of the log."""
    desk.endings = [OURS, THEIRS, ROOT]
    desk.now = END - timedelta(days=30)

    assert desk.expiring().tell() == 3
    (text,) = desk.texts()
    for line in (
        "2026-08-09: our OpenPGP key of hosp.test (AAAAAAAAAAAAAAAA)",
        "2026-08-09: their certificate of bob@p.test (BBBBBBBBBBBBBBBB)",
        "2026-08-09: the site's authority for certificates (CCCCCCCCCCCCCCCC)",
        "gatepost key generate openpgp --for hosp.test",
        "ask the partner for a new one",
        "--new-ca",
    ):
        assert line in text
    ((event, keys),) = logged
    assert event == "keys or certificates expire soon"
    assert isinstance(keys, list)
    assert len(keys) == 3


def test_a_key_that_was_prolonged_is_told_anew(desk: Desk) -> None:
    """The same key with a later end is another matter."""
    desk.now = END - timedelta(days=5)
    desk.expiring().tell()
    desk.endings = [Ending(OURS.fingerprint, OURS.kind, OURS.owner, own=True, expires=END + timedelta(days=100))]
    desk.now += timedelta(days=100)

    assert desk.expiring().tell() == 1


def test_a_notice_that_was_not_sent_is_sent_later(desk: Desk, logged: list[tuple[str, object]]) -> None:
    """A listener that is down costs nothing but time; what may have gone is not sent again, and the log tells."""
    desk.now = END - timedelta(days=5)
    desk.world.faults["submit"] = DeliveryError("down")
    for _ in range(2):
        with pytest.raises(GatepostError, match="down"):
            desk.expiring().tell()
    assert logged == []
    desk.world.faults["submit"] = DeliveryError("reply lost", uncertain=True)
    assert desk.expiring().tell() == 1
    del desk.world.faults["submit"]
    assert desk.expiring().tell() == 0
    assert [event for event, _ in logged] == ["a notice was not sent", "keys or certificates expire soon"]


def test_no_days_are_never(desk: Desk) -> None:
    """Without days nobody is told."""
    desk.now = END - timedelta(days=1)
    assert desk.expiring(days=()).tell() == 0


def test_what_strangers_named_adds_no_line(desk: Desk) -> None:
    """An owner's name cannot write into the notice."""
    desk.endings = [Ending("AA", "openpgp", "a\r\nX: y@p.test", own=False, expires=END)]
    desk.now = END - timedelta(days=1)
    desk.expiring().tell()
    assert "\nX:" not in desk.texts()[0].replace("\r\n", "\n")


@pytest.mark.parametrize(("now", "verb"), [(NOW, "expires"), (END, "expired")])
def test_doctor_tells_it_too(now: datetime, verb: str) -> None:
    """A warning for each, with its remedy, also once it is too late."""
    found = list(doctor.ending_checks((OURS, THEIRS), now))
    assert [str(one.status).upper() for one in found] == ["WARN", "WARN"]
    assert all(f"{verb} on 2026-08-09" in one.what and one.remedy for one in found)
    assert [str(one.status).upper() for one in doctor.ending_checks((), now)] == ["OK"]
