"""Release: copies go encrypted or stay, and are marked as released only after they went."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.fakes import FakeJournal, World

from gatepost.crypto import seal
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.errors import DeliveryError, VaultError
from gatepost.gateway.budget import Budget
from gatepost.gateway.entry import State
from gatepost.gateway.journal import Attempt, Journal
from gatepost.gateway.release import Release
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.transaction import Client, Recipient, Transaction
from gatepost.vault.blobs import DirectoryBlobs
from gatepost.vault.held import Held, Quarantine, key_context

BOB, CAROL = Recipient(parse(b"<Bob@x.test>")), Recipient(parse(b"<carol@x.test>"))
MESSAGE = Transaction(Client(), parse(b"<a@hosp.test>"), (), (BOB, CAROL), (), MemoryBody(b"body\r\n"), "4XYZ")


class Rows:
    """One row in memory."""

    def __init__(self) -> None:
        self.row: Held | None = None

    def add(self, held: Held) -> None:
        self.row = held

    def matching(self, prefix: str) -> tuple[Held, ...]:
        return (self.row,) if self.row and str(self.row.id).startswith(prefix) else ()

    def waiting(self) -> tuple[Held, ...]:
        return self.matching("")

    def expired(self, now: datetime) -> tuple[Held, ...]:
        assert now
        return ()

    def narrow(self, held: Held, recipients: Sequence[Recipient], reason: str) -> bool:
        self.row = replace(held, recipients=tuple(recipients), reason=reason)
        return True

    def close(self, held: Held, state: str, at: datetime, reason: str) -> bool:
        self.row = replace(held, state=state, wrapped_key=None, released_at=at, reason=reason)
        return True


class Worker:
    """A key worker that opens everything."""

    def __init__(self) -> None:
        self.private, self.public = seal.new_pair()

    def release(self, held: UUID, wrapped: bytes) -> bytes:
        return seal.unwrap(self.private, wrapped, key_context(held))


class KilledError(BaseException):
    """The process is no more."""


class Out:
    """Judges each recipient as told, submits those who may get it one by one, and remembers what it was given."""

    def __init__(self, **treatments: Treatment) -> None:
        self._treatments = treatments
        self.given: list[Transaction] = []
        self.sent: list[Recipient] = []
        self.faults: dict[Recipient, tuple[str, BaseException]] = {}  # when its copy is submitted, and with what

    def release(self, transaction: Transaction, budget: Budget, attempt: Attempt) -> tuple[Judgement, ...]:
        assert budget.left() > 0
        self.given.append(transaction)
        earlier = {one.recipient for one in attempt.submitted()}
        judgements = tuple(
            Judgement(
                one, Direction.OUT, Demand.ENCRYPT, (), self._treatments[one.address.local.lower()], ("because",)
            )
            for one in transaction.recipients
        )
        attempt.begin(attempt.with_earlier(Plan(Answer.DISCARD, judgements, ())))
        for one in judgements:
            if one.treatment is Treatment.OPENPGP and one.recipient not in earlier:
                self._submit(one.recipient, attempt)
        attempt.save()
        return judgements

    def _submit(self, recipient: Recipient, attempt: Attempt) -> None:
        attempt.mark([recipient], State.SENDING)
        attempt.save()
        when, fault = self.faults.pop(recipient, ("", KilledError()))
        if when == "before":
            if isinstance(fault, DeliveryError):
                attempt.mark([recipient], State.PENDING)
            raise fault
        self.sent.append(recipient)
        if when == "after":
            raise fault
        attempt.mark([recipient], State.SUBMITTED, "4NEW")
        attempt.save()
        if when == "noted":
            raise fault


class Place:
    """A held copy and what it takes to release it."""

    def __init__(self, directory: Path, **treatments: Treatment) -> None:
        worker = Worker()
        self.rows = Rows()
        self.out = Out(**treatments)
        self.quarantine = Quarantine(
            store=self.rows, blobs=DirectoryBlobs(directory), public=lambda: worker.public, keep=timedelta(days=7)
        )
        self.journal = Journal(FakeJournal(World()), holder="release")
        self.release = Release(
            quarantine=self.quarantine,
            data_keys=worker,
            outbound=self.out,
            journal=self.journal,
            spool=directory,
            seconds=60,
        )
        self.held = self.quarantine.hold(MESSAGE, (BOB, CAROL), subject="", cause="a rule", rules=(), name=uuid4())

    def killed(self) -> None:
        """Release, be killed, and start anew as a process does that has its turn."""
        with pytest.raises(KilledError):
            self.release.encrypted(self.held)
        self.journal.free()

    def row(self) -> Held:
        assert self.rows.row is not None
        return self.rows.row


def test_all_go(tmp_path: Path) -> None:
    """The message as received goes to everybody and is then gone from the vault."""
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=Treatment.OPENPGP)
    outcome = place.release.encrypted(place.held)
    (given,) = place.out.given
    assert (given.body.read(), given.recipients) == (b"body\r\n", (BOB, CAROL))
    assert [one.recipient for one in outcome.gone] == [BOB, CAROL]
    assert outcome.kept == ()
    assert (place.row().state, place.row().wrapped_key) == ("released", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stays", [Treatment.QUARANTINE, Treatment.REJECT, Treatment.TEMPFAIL])
def test_who_has_no_way_stays(tmp_path: Path, stays: Treatment) -> None:
    """A recipient without a usable rung, or judged `reject`, stays held; the others go."""
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=stays)
    outcome = place.release.encrypted(place.held)
    assert [one.recipient for one in outcome.kept] == [CAROL]
    assert (place.row().state, place.row().recipients) == ("held", (CAROL,))


def test_nobody_goes(tmp_path: Path) -> None:
    """Where nobody can get it, the row stays as it was."""
    place = Place(tmp_path, bob=Treatment.REJECT, carol=Treatment.QUARANTINE)
    outcome = place.release.encrypted(place.held)
    assert outcome.gone == ()
    assert place.row() == place.held


def test_one_recipient_only(tmp_path: Path) -> None:
    """With a recipient named, whatever its case, only that one gets a copy; the other stays held."""
    place = Place(tmp_path, bob=Treatment.OPENPGP)
    place.release.encrypted(place.held, parse(b"bob@X.test"))
    (given,) = place.out.given
    assert given.recipients == (BOB,)
    assert (place.row().state, place.row().recipients) == ("held", (CAROL,))


def test_other_recipient_is_refused(tmp_path: Path) -> None:
    """A copy goes to nobody for whom it is not held."""
    place = Place(tmp_path)
    with pytest.raises(VaultError, match="not held for eve"):
        place.release.encrypted(place.held, parse(b"<eve@x.test>"))
    assert place.out.given == []


def test_failed_delivery_keeps_it(tmp_path: Path) -> None:
    """What could not be submitted is not marked as released."""
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=Treatment.OPENPGP)
    place.out.faults[BOB] = ("before", DeliveryError("down"))
    with pytest.raises(DeliveryError):
        place.release.encrypted(place.held)
    assert place.row() == place.held


def test_who_got_it_before_a_fault_is_done(tmp_path: Path) -> None:
    """Where a later copy is refused, those who got theirs are marked and told; the next try ends it."""
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=Treatment.OPENPGP)
    place.out.faults[CAROL] = ("before", DeliveryError("down"))
    outcome = place.release.encrypted(place.held)
    assert ([one.recipient for one in outcome.gone], str(outcome.fault)) == ([BOB], "down")
    assert (place.row().state, place.row().recipients) == ("held", (CAROL,))

    outcome = place.release.encrypted(place.row())
    assert ([one.recipient for one in outcome.gone], outcome.repeated) == ([CAROL], frozenset())
    assert place.out.sent == [BOB, CAROL]
    assert place.row().state == "released"


@pytest.mark.parametrize(
    ("when", "sent", "repeated"),
    [("before", [BOB, CAROL], {CAROL}), ("after", [BOB, CAROL, CAROL], {CAROL}), ("noted", [BOB, CAROL], set())],
)
def test_killed_while_the_last_copy_goes(
    tmp_path: Path, when: str, sent: list[Recipient], repeated: set[Recipient]
) -> None:
    """
    The next release sends what did not surely go, and nothing else; where nobody knows, it says so.

    The copy that had gone is told as gone by the earlier release.
    """
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=Treatment.OPENPGP)
    place.out.faults[CAROL] = (when, KilledError())
    place.killed()
    assert place.row() == place.held

    outcome = place.release.encrypted(place.held)

    assert place.out.sent == sent
    assert {one.recipient for one in outcome.gone} == {BOB, CAROL}
    assert set(outcome.repeated) == repeated
    assert set(outcome.earlier) == {BOB, CAROL} - repeated
    assert place.row().state == "released"


def test_what_is_known_of_the_others_stays_known(tmp_path: Path) -> None:
    """A release to one recipient alone does not forget that another one's copy may have gone."""
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=Treatment.OPENPGP)
    place.out.faults[BOB] = ("after", KilledError())
    place.killed()
    place.release.encrypted(place.held, CAROL.address)

    outcome = place.release.encrypted(place.row())

    assert (place.out.sent, set(outcome.repeated)) == ([BOB, CAROL, BOB], {BOB})


def test_a_release_under_way_keeps_others_out(tmp_path: Path) -> None:
    """While a release holds the copy's lease, on whatever host, another one is refused and sends nothing."""
    place = Place(tmp_path, bob=Treatment.OPENPGP, carol=Treatment.OPENPGP)
    with place.journal.release(place.held.id, MESSAGE, Budget(60, lambda: None)) as other:
        other.find()
        other.begin(Plan(Answer.DISCARD, (), ()))

        with pytest.raises(DeliveryError, match="under way"):
            place.release.encrypted(place.held)
    assert place.out.sent == []


def test_as_is_is_refused(tmp_path: Path) -> None:
    """No rule has finds that were shown, so nothing leaves as it is."""
    place = Place(tmp_path)
    with pytest.raises(VaultError, match="--as-is lifts only"):
        place.release.as_is(place.held)
    assert place.out.given == []
