"""The audit, for any record and any tampering: found, and the first event concerned is named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto.proof import PAIR, Prover
from gatepost.directory.audit import Findings, Place, audit
from gatepost.directory.stamp import NOTHING, Stamp, digest_of

PROVER = Prover(b"k" * 32)
AT = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass
class Kept:
    """A host's record in memory."""

    events: list[Place]
    written: list[Stamp]

    def latest_purge(self, host: str) -> Stamp | None:
        assert host == "gw"
        return max((one for one in self.written if one.purged), key=lambda one: one.purged, default=None)

    def stamps(self, host: str) -> Iterator[Sequence[Stamp]]:
        assert host == "gw"
        yield self.written

    def places(self, host: str, after: int | None, last: int | None) -> Iterator[Place]:
        assert host == "gw"
        for one in sorted(self.events, key=lambda one: one.sequence):
            if (after is None or one.sequence > after) and (last is None or one.sequence <= last):
                yield one

    def audit(self, head: int | None = None) -> Findings:
        return audit("gw", self, prove, head)


def prove(stamps: Sequence[Stamp]) -> list[bool]:
    return [PROVER.proves(one.statement(), one.code) for one in stamps]


def stamped(number: int, previous: bytes, run: Sequence[Place], *, purged: int = 0, first: int = 0) -> Stamp:
    first = run[0].sequence if run else first
    digests = b"".join(one.digest for one in run)
    draft = Stamp("gw", number, AT, first, first + len(run) - 1, digests, previous, purged)
    return replace(draft, code=PROVER.code(draft.statement()))


@st.composite
def records(draw: st.DrawFn) -> Kept:
    """Make an untouched record: runs of stamped events, then some that are not stamped yet."""
    runs = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    waiting = draw(st.integers(0, 3))
    events = [Place(number, digest_of((number, "event"))) for number in range(1, sum(runs) + waiting + 1)]
    stamps: list[Stamp] = []
    start = 0
    for number, length in enumerate(runs, 1):
        previous = stamps[-1].code if stamps else NOTHING
        stamps.append(stamped(number, previous, events[start : start + length]))
        start += length
    return Kept(events, stamps)


def last_stamped(kept: Kept) -> int:
    return kept.written[-1].last


@given(records())
def test_untouched(kept: Kept) -> None:
    """Nothing is found where nothing was done, and everything is counted."""
    found = kept.audit(len(kept.written))

    assert (found.breaks, found.broken) == ((), 0)
    assert (found.events, found.stamps) == (len(kept.events), len(kept.written))
    assert found.unstamped == len(kept.events) - last_stamped(kept)


@given(records(), st.data())
def test_any_change(kept: Kept, data: st.DataObject) -> None:
    """Whichever stamped event is changed, it is named, and no other."""
    sequence = data.draw(st.integers(1, last_stamped(kept)))
    kept.events[sequence - 1] = Place(sequence, digest_of((sequence, "otherwise")))

    assert [(one.fault, one.sequence) for one in kept.audit().breaks] == [("changed", sequence)]


@given(records(), st.data())
def test_any_removal(kept: Kept, data: st.DataObject) -> None:
    """Whichever events are removed, the first of them is named; the latest unstamped ones alone leave no trace."""
    gone = data.draw(st.sets(st.sampled_from([one.sequence for one in kept.events]), min_size=1))
    kept.events = [one for one in kept.events if one.sequence not in gone]
    found = kept.audit()
    left = max((one.sequence for one in kept.events), default=0)
    missed = {one for one in gone if one <= max(left, last_stamped(kept))}

    assert bool(found.breaks) is bool(missed)
    if missed:
        assert (found.breaks[0].fault, found.breaks[0].sequence) == ("removed", min(missed))


@given(records(), st.data())
def test_any_exchange(kept: Kept, data: st.DataObject) -> None:
    """Whichever two stamped events change places, both are named."""
    if last_stamped(kept) == 1:
        return
    first, second = sorted(
        data.draw(st.lists(st.integers(1, last_stamped(kept)), min_size=2, max_size=2, unique=True))
    )
    one, other = kept.events[first - 1], kept.events[second - 1]
    kept.events[first - 1], kept.events[second - 1] = Place(first, other.digest), Place(second, one.digest)
    found = kept.audit()

    assert [one.sequence for one in found.breaks] == [first, second]
    assert {one.fault for one in found.breaks} <= {"moved", "changed"}


@given(records(), st.data())
def test_any_cut(kept: Kept, data: st.DataObject) -> None:
    """However much is cut off at the end, events with their stamps, the key worker's head tells."""
    head = len(kept.written)
    left = data.draw(st.integers(0, head - 1))
    reach = kept.written[left - 1].last if left else 0
    kept.written = kept.written[:left]
    kept.events = [one for one in kept.events if one.sequence <= reach]

    assert [(one.fault, one.sequence) for one in kept.audit(head).breaks] == [("cut", reach + 1)]


@given(records(), st.data())
def test_any_purge(kept: Kept, data: st.DataObject) -> None:
    """However much expiry deletes, what is left is as good as before; what comes back is named."""
    through = data.draw(st.integers(1, len(kept.written)))
    tip = kept.written[-1]
    gone = kept.written[:through]
    record = stamped(tip.number + 1, tip.code, (), purged=through, first=tip.last + 1)
    before = kept.events
    kept.written = [*kept.written[through:], record]
    kept.events = [one for one in before if one.sequence > gone[-1].last]
    assert kept.audit(record.number).broken == 0

    kept.events = [before[gone[-1].last - 1], *kept.events]
    assert [(one.fault, one.sequence) for one in kept.audit().breaks] == [("inserted", gone[-1].last)]


@given(records(), st.data())
def test_any_forged_stamp(kept: Kept, data: st.DataObject) -> None:
    """A stamp that is not the key worker's proves nothing, whatever it states."""
    index = data.draw(st.integers(0, len(kept.written) - 1))
    stamp = kept.written[index]
    other = Prover(b"f" * 32)
    kept.written[index] = replace(stamp, code=other.code(stamp.statement()))

    assert ("changed", stamp.first) in [(one.fault, one.sequence) for one in kept.audit().breaks]


@given(records(), st.data())
def test_any_stamp_of_a_fork(kept: Kept, data: st.DataObject) -> None:
    """A stamp that the key worker made, but not behind the one that stands before it, is named."""
    index = data.draw(st.integers(0, len(kept.written) - 1))
    stamp = replace(kept.written[index], previous=b"p" * 32)
    kept.written[index] = replace(stamp, code=PROVER.code(stamp.statement()))

    assert ("cut", stamp.first) in [(one.fault, one.sequence) for one in kept.audit().breaks]


@given(records())
def test_forged_purge(kept: Kept) -> None:
    """Who removes the first events with their stamp cannot pretend that expiry did."""
    head = len(kept.written)
    gone, *left = kept.written
    forged = stamped(len(kept.written) + 1, NOTHING, (), purged=1, first=last_stamped(kept) + 1)
    kept.written = [*left, replace(forged, code=bytes(32))]
    kept.events = [one for one in kept.events if one.sequence > gone.last]

    assert ("cut", 1) in [(one.fault, one.sequence) for one in kept.audit(head).breaks]


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.booleans()), max_size=5))
def test_codes_are_checked_many_at_once(wanted: list[tuple[bytes, bool]]) -> None:
    """One answer for each statement and code, in order."""
    pairs = b"".join(one + (PROVER.code(one) if right else bytes(32)) for one, right in wanted)

    assert len(pairs) == PAIR * len(wanted)
    assert PROVER.check(pairs) == bytes(right for _, right in wanted)


def test_digests_tell_columns_apart() -> None:
    """Text that moves from one column into its neighbour gives another digest."""
    assert digest_of(("a", "b")) != digest_of(("ab", ""))
    assert digest_of((1,)) != digest_of(("1",))
