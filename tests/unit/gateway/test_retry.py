"""A message that comes again after a fault: what was done is not done twice, the rest is done, never in clear."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import FakeJournal, World
from tests.gateways import BODY, SHIPPED_RULES, gateway_over, processed

from gatepost.decision.reader import read_rules
from gatepost.errors import DeliveryError, StorageError, WorkerError
from gatepost.gateway.aliases import Destination
from gatepost.gateway.budget import Budget
from gatepost.gateway.entry import Entry, Lease, Progress
from gatepost.gateway.gateway import Gateway
from gatepost.gateway.journal import Journal
from gatepost.gateway.submission import Submission
from gatepost.gateway.verdict import Accept, Discard, Verdict
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.edit import apply
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

RULES = read_rules(SHIPPED_RULES, frozenset())
OWN_ID = Field(b"Message-ID", b" <1@hosp.test>")
DOC, TLS, ONE, TWO, EVE = "doc@hosp.test", "t@tls.test", "a@one.test", "b@two.test", "eve@nokey.test"
ALL = (DOC, TLS, ONE, TWO, EVE)
MAY_SEE_CLEAR = {DOC, TLS}


class Killed(BaseException):
    """The process ends here: whatever it had not written is gone, and it writes nothing more."""


@dataclass
class Strike:
    """Strikes at the n-th thing that happens: before it or after it, by an error or by SIGKILL."""

    at: int
    error: BaseException
    after: bool = False


class FaultyWorld(World):
    """A world in which one thing that happens goes wrong."""

    strike: Strike | None = None
    dead = False
    count = 0

    def happens(self, what: str) -> None:
        if self.dead:
            raise Killed
        self.count += 1
        strike, mine = self.strike, self.strike is not None and self.count == self.strike.at
        if strike and mine and not strike.after:
            self._die(strike)
        super().happens(what)

    def submit(self, submission: Submission, budget: Budget) -> str:
        queue_id = super().submit(submission, budget)
        self.then()
        return queue_id

    def then(self) -> None:
        """Strike after the thing has happened: it is done, and nobody hears of it."""
        if self.strike and self.strike.after and self.count == self.strike.at:
            self._die(self.strike)

    def _die(self, strike: Strike) -> None:
        self.dead = isinstance(strike.error, Killed)
        raise strike.error


class FaultyJournal(FakeJournal):
    """A journal whose writing may succeed though its reply is lost."""

    def __init__(self, world: FaultyWorld) -> None:
        super().__init__(world)
        self.faulty = world

    def add(self, entry: Entry, lease: Lease, at: datetime, *, over_settled: bool) -> bool:
        done = super().add(entry, lease, at, over_settled=over_settled)
        self.faulty.then()
        return done

    def save(self, entry: Entry, lease: Lease, at: datetime) -> bool:
        done = super().save(entry, lease, at)
        self.faulty.then()
        return done


class Mill:
    """A gateway over one world and one journal, and what each recipient got of it."""

    def __init__(self) -> None:
        self.world = FaultyWorld()
        self.rows = FaultyJournal(self.world)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.in_place: list[tuple[str, bytes]] = []
        self.notices = 0
        self.world.key("one.test")
        self.world.key("two.test")
        self.world.partner("tls.test", demand="tls", tls="verify")

    def gateway(self) -> Gateway:
        journal = Journal(self.rows, holder="here", clock=lambda: self.now)
        return gateway_over(self.world, rules=RULES, journal=journal)

    def attempt(self, transaction: Transaction) -> Verdict:
        """Let the gateway process the message once; a verdict is carried out as a mail server does."""
        verdict = processed(self.gateway(), transaction)
        if isinstance(verdict, Accept):
            body = transaction.body if verdict.form.body is None else verdict.form.body
            wire = b"".join(one.wire() for one in apply(transaction.fields, verdict.form.edits)) + body.read()
            removed = set(verdict.removed)
            self.in_place += [
                (one.address.text, wire) for one in transaction.recipients if one.address not in removed
            ]
        return verdict

    def fails(self, transaction: Transaction, strike: Strike) -> None:
        """Process the message with a fault; afterwards the world is whole again."""
        self.world.strike, self.world.count, self.world.dead = strike, 0, False
        try:
            self.attempt(transaction)
        except (Killed, StorageError, DeliveryError, WorkerError) as error:
            if isinstance(error, Killed):
                Journal(self.rows, holder="here", clock=lambda: self.now).free()  # the milter starts anew
        finally:
            self.world.strike, self.world.dead = None, False

    def got(self) -> Counter[str]:
        """Count how often each recipient got the message or had it held."""
        copies = [one for one in self.world.submitted if not one.sender.is_null]
        return Counter(
            [address for address, _ in self.in_place]
            + [recipient.address.text for one in copies for recipient in one.recipients]
            + [one.recipient.address.text for one in self.world.held]
        )

    def in_clear(self) -> set[str]:
        """Name who got the message in clear."""
        copies = [one for one in self.world.submitted if not one.sender.is_null]
        clear = {
            recipient.address.text for one in copies if BODY in one.body.read() for recipient in one.recipients
        }
        return clear | {address for address, wire in self.in_place if BODY in wire}

    def flagged(self) -> set[str]:
        """Name who may have got it twice, as the events say."""
        return {one.recipient for one in self.world.events if one.detail.get("possible-duplicate")}


@pytest.fixture
def mill() -> Mill:
    return Mill()


def message(
    recipients: Iterable[str] = ALL, *, queue_id: str = "4QID", fields: tuple[Field, ...] = (OWN_ID,)
) -> Transaction:
    """Make a tagged message to one inside, one by verified TLS, two with keys, one without any."""
    return Transaction(
        client=Client(authenticated="alice"),
        sender=address.parse(b"<alice@hosp.test>"),
        parameters=(),
        recipients=tuple(Recipient(address.parse(f"<{one}>".encode())) for one in recipients),
        fields=(Field(b"From", b" alice@hosp.test"), Field(b"Subject", b" *secure* x"), *fields),
        body=MemoryBody(BODY),
        queue_id=queue_id,
    )


def again(transaction: Transaction) -> Transaction:
    """Give the message as the client's next try shows it."""
    return replace(transaction, queue_id="4NEXT")


FAULTS: dict[str, tuple[BaseException, bool]] = {  # what goes wrong, and whether the thing was done all the same
    "killed before": (Killed(), False),
    "killed after": (Killed(), True),
    "database gone before": (StorageError("down"), False),
    "database gone after": (StorageError("down"), True),
    "refused": (DeliveryError("451"), False),
    "reply lost": (DeliveryError("lost", uncertain=True), True),
    "never arrived": (DeliveryError("lost", uncertain=True), False),
    "no time left": (WorkerError("slow"), False),
}
MOST_STEPS = 36


class TestOneFault:
    def test_every_step_is_struck(self) -> None:
        """No message of these tests takes more steps than are struck."""
        assert len(steps()) <= MOST_STEPS

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("at", range(1, MOST_STEPS + 1))
    def test_everyone_gets_it_once(self, mill: Mill, at: int, fault: str) -> None:
        """
        Whatever fails, at whichever step, before or after it was done: a retry gives everyone the message.

        Never in clear to whom it must not, and twice only where the events say that it may be so.
        """
        transaction = message()
        mill.fails(transaction, Strike(at, *FAULTS[fault]))
        if not mill.in_place:
            mill.now += timedelta(minutes=5)
            mill.attempt(again(transaction))

        got = mill.got()
        assert set(got) == set(ALL)
        assert {one for one, times in got.items() if times > 1} <= mill.flagged()
        assert mill.in_clear() <= MAY_SEE_CLEAR


class TestPossibleDuplicate:
    def test_is_on_record_before_the_answer(self, mill: Mill) -> None:
        """What may have come twice is durable before the client is told that all is well."""
        transaction = message()
        mill.fails(transaction, Strike(steps().index("submit") + 1, *FAULTS["reply lost"]))
        assert "flush" not in mill.world.happened

        mill.now += timedelta(minutes=5)
        mill.attempt(again(transaction))

        assert mill.flagged()
        assert mill.world.happened[-2:] == ["post", "flush"]

    def test_other_records_hold_nobody_up(self, mill: Mill) -> None:
        """A message that surely went once waits for its thread rows alone."""
        mill.attempt(message())

        assert mill.world.happened[-1] == "post"


class TestAliases:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("at", range(1, MOST_STEPS + 1))
    @pytest.mark.parametrize("beside", [(), (DOC,)])
    def test_everyone_behind_an_alias_gets_it_once(
        self, mill: Mill, at: int, fault: str, beside: tuple[str, ...]
    ) -> None:
        """Those behind an alias get the message once as well, whatever fails, and never in clear."""
        mill.world.aliases["both@hosp.test"] = tuple(
            Destination(address.parse(f"<{one}>".encode())) for one in ("ann@hosp.test", ONE, EVE)
        )
        transaction = message((*beside, "both@hosp.test"))
        mill.fails(transaction, Strike(at, *FAULTS[fault]))
        if not mill.in_place:
            mill.now += timedelta(minutes=5)
            mill.attempt(again(transaction))

        got = mill.got()
        assert set(got) == {*beside, "ann@hosp.test", ONE, EVE}
        assert {one for one, times in got.items() if times > 1} <= mill.flagged()
        assert mill.in_clear() <= {DOC, "ann@hosp.test"}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, MOST_STEPS), st.sampled_from(list(FAULTS))), max_size=6),
    st.lists(st.sampled_from(ALL), min_size=1, unique=True),
)
def test_any_number_of_faults(faults: list[tuple[int, str]], recipients: list[str]) -> None:
    """After any number of faulty tries, one that works completes the message; nobody gets it twice unsaid."""
    mill = Mill()
    transaction = message(recipients)
    for number, (at, fault) in enumerate(faults):
        mill.fails(replace(transaction, queue_id=f"4Q{number}"), Strike(at, *FAULTS[fault]))
        mill.now += timedelta(minutes=5)
        mill.in_place.clear()  # a verdict that the mail server could not carry out
    mill.attempt(again(transaction))

    got = mill.got()
    assert set(got) == set(recipients)
    assert {one for one, times in got.items() if times > 1} <= mill.flagged()
    assert mill.in_clear() <= MAY_SEE_CLEAR


class TestRetry:
    def test_a_copy_that_was_taken_is_not_sent_again(self, mill: Mill) -> None:
        """The second copy is refused for now: the retry sends that one alone, and nobody is told of duplicates."""
        submits = [number for number, what in enumerate(steps(), 1) if what == "submit"]
        mill.fails(message(), Strike(submits[1], DeliveryError("451")))
        sent = len(mill.world.submitted)

        mill.attempt(again(message()))

        copies = [one for one in mill.world.submitted[sent:] if not one.sender.is_null]
        assert sent == 1
        assert len(copies) == 2
        assert set() == mill.flagged()
        assert Counter(dict.fromkeys(ALL, 1)) == mill.got()

    def test_a_lost_reply_sends_the_copy_once_more(self, mill: Mill) -> None:
        """RFC 1047: the copy goes once more with the same Message-ID, and the event says so, for it alone."""
        lost = DeliveryError("the connection died", uncertain=True)
        submits = [number for number, what in enumerate(steps(), 1) if what == "submit"]
        mill.fails(message(), Strike(submits[1], lost, after=True))
        twice = set(recipients_of(mill.world.submitted[1]))

        mill.attempt(again(message()))

        assert twice == {one for one, times in mill.got().items() if times == 2}
        assert twice == mill.flagged()
        ids = {one.value for copy in mill.world.submitted for one in copy.fields if one.key == b"message-id"}
        assert ids == {OWN_ID.value}

    def test_the_stored_plan_decides(self, mill: Mill) -> None:
        """A demand that is gone at the retry changes nothing for the copies that are still to go."""
        mill.world.partner("two.test", demand="encrypt")
        plain = replace(message((DOC, ONE, TWO)), fields=(Field(b"Subject", b" x"), OWN_ID))
        mill.world.partner("one.test", demand="encrypt")
        submits = [number for number, what in enumerate(steps(plain), 1) if what == "submit"]
        mill.fails(plain, Strike(submits[0], DeliveryError("451")))
        del mill.world.partners["two.test"]

        mill.attempt(again(plain))

        assert {DOC} == mill.in_clear()
        assert Counter({DOC: 1, ONE: 1, TWO: 1}) == mill.got()

    def test_a_key_that_is_gone_holds_its_copy_alone(self, mill: Mill) -> None:
        """Who can no longer be encrypted to is decided again, never weaker; all others go as planned."""
        submits = [number for number, what in enumerate(steps(), 1) if what == "submit"]
        mill.fails(message(), Strike(submits[0], DeliveryError("451")))
        del mill.world.keys["two.test"]

        mill.attempt(again(message()))

        assert {TWO, EVE} == {one.recipient.address.text for one in mill.world.held}
        assert Counter(dict.fromkeys(ALL, 1)) == mill.got()
        assert mill.in_clear() <= MAY_SEE_CLEAR

    def test_a_second_try_is_put_off_while_the_first_works(self, mill: Mill) -> None:
        """The lease keeps another try out until the first has ended or its time is over."""
        mill.fails(message(), Strike(10**6, Killed()))
        key, (entry, lease, at) = next(iter(mill.rows.rows.items()))
        begun = replace(entry, settled=False, progress=(Progress(),) * len(entry.progress))
        mill.rows.rows[key] = (begun, replace(lease, until=mill.now + timedelta(60)), at)

        built = mill.world.happened.count("encrypt")
        with pytest.raises(DeliveryError, match="another try"):
            mill.attempt(again(message()))
        assert built == mill.world.happened.count("encrypt")

    def test_a_milter_that_was_killed_hinders_nobody(self, mill: Mill) -> None:
        """Started anew, it frees what it held: the client's next try need not wait for the lease to run out."""
        submits = [number for number, what in enumerate(steps(), 1) if what == "submit"]
        mill.fails(message(), Strike(submits[0], Killed()))

        mill.attempt(again(message()))

        assert set(ALL) == set(mill.got())

    def test_killed_in_the_notice(self, mill: Mill) -> None:
        """All copies are settled before anybody is told, so a kill there brings no second one of any."""
        submits = [number for number, what in enumerate(steps(), 1) if what == "submit"]
        mill.fails(message(), Strike(submits[-1], Killed()))

        mill.attempt(again(message()))

        assert Counter(dict.fromkeys(ALL, 1)) == mill.got()

    def test_two_first_tries_at_once(self, mill: Mill) -> None:
        """Of two tries that both find nothing, one writes the entry; the other sends nothing."""
        gateway, first = mill.gateway(), message()
        survey = gateway.survey(first)
        find, mill.rows.find = mill.rows.find, lambda _key: None  # type: ignore[method-assign]
        budget = Budget(60, keepalive=lambda: None)
        gateway.process(first, survey, budget)
        sent = len(mill.world.submitted)
        mill.rows.rows = {
            key: (replace(entry, settled=False), lease, at) for key, (entry, lease, at) in mill.rows.rows.items()
        }

        with pytest.raises(DeliveryError, match="another try"):
            gateway.process(again(first), survey, budget)

        mill.rows.find = find  # type: ignore[method-assign]
        assert sent == len(mill.world.submitted)

    def test_after_the_verdict_a_message_with_its_own_id_is_known(self, mill: Mill) -> None:
        """The client did not hear the verdict: what is in place goes on again and says so, nothing else does."""
        mill.attempt(message())
        sent, held = len(mill.world.submitted), len(mill.world.held)

        verdict = mill.attempt(again(message()))

        assert isinstance(verdict, Accept)
        assert (sent, held) == (len(mill.world.submitted), len(mill.world.held))
        assert {DOC} == mill.flagged()

    def test_after_the_verdict_a_message_without_id_is_another(self, mill: Mill) -> None:
        """Two equal messages without a Message-ID are two: both go to everyone."""
        made = Field(b"Message-Id", b" <20260101000000.4QID@mail.hosp.test>"), Field(b"Date", b" now")
        later = Field(b"Message-Id", b" <20260101000500.4NEXT@mail.hosp.test>"), Field(b"Date", b" later")
        mill.attempt(message(fields=made))

        mill.attempt(again(message(fields=later)))

        assert Counter(dict.fromkeys(ALL, 2)) == mill.got()
        assert set(ALL) == mill.flagged()

    def test_before_the_verdict_a_message_without_id_is_known(self, mill: Mill) -> None:
        """What the mail server made from our queue ID does not hide that it is the same message."""
        made = Field(b"Message-Id", b" <20260101000000.4QID@mail.hosp.test>"), Field(b"Date", b" now")
        later = Field(b"Message-Id", b" <20260101000500.4NEXT@mail.hosp.test>"), Field(b"Date", b" later")
        submits = [number for number, what in enumerate(steps(), 1) if what == "submit"]
        mill.fails(message(fields=made), Strike(submits[1], DeliveryError("451")))

        mill.attempt(again(message(fields=later)))

        assert Counter(dict.fromkeys(ALL, 1)) == mill.got()

    def test_the_sender_is_told_once(self, mill: Mill) -> None:
        """The notice about held copies goes when all is done, and not again with a retry."""
        mill.attempt(message())
        mill.attempt(again(message()))

        assert 1 == sum(one.sender.is_null for one in mill.world.submitted)

    @pytest.mark.parametrize("recipients", [(ONE,), (DOC,), (TLS,)])
    def test_one_copy_in_place_needs_no_journal(self, mill: Mill, recipients: tuple[str, ...]) -> None:
        """A message to one recipient that is edited in place neither asks nor writes it."""
        assert isinstance(mill.attempt(message(recipients)), Accept)
        assert not any(what.startswith("journal") for what in mill.world.happened)

    def test_a_retry_that_is_known_waits_for_nothing(self, mill: Mill) -> None:
        """Of a message that the journal knows the verdict is there at once, though only the original is left."""
        for domain in ("one.test", "two.test"):
            mill.world.partner(domain, demand="encrypt")
        taken = steps(message((ONE, TWO))).index("submit") + 1
        mill.fails(message((ONE, TWO)), Strike(taken + 1, StorageError("down")))
        gateway, retry = mill.gateway(), again(message((ONE, TWO)))

        verdict = gateway.process(retry, gateway.survey(retry), Budget(60, keepalive=lambda: None))

        assert isinstance(verdict, Accept)
        assert len(mill.world.submitted) == 1
        assert mill.world.happened.count("commit") == 2

    def test_all_held_is_discarded_again(self, mill: Mill) -> None:
        """A message whose only copy is held is dropped at the retry as well, and held once."""
        assert Discard() == mill.attempt(message((EVE,)))
        assert Discard() == mill.attempt(again(message((EVE,))))
        assert Counter({EVE: 1}) == mill.got()


def recipients_of(submission: Submission) -> list[str]:
    return [one.address.text for one in submission.recipients]


def steps(transaction: Transaction | None = None) -> list[str]:
    """Name all that happens when nothing goes wrong, in order."""
    mill = Mill()
    if transaction is not None:
        for domain in ("one.test", "two.test"):
            mill.world.partner(domain, demand="encrypt")
    mill.attempt(transaction or message())
    return mill.world.happened
