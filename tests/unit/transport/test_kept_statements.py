"""What authorities state, kept: asked once, no longer kept than it holds, and never waited for too long."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from lab.wait import until

from gatepost.errors import CryptoError
from gatepost.transport.kept_statements import LEFT_ALONE, KeptStatements
from gatepost.transport.resolver import LookUpFailed

URL = "http://lists.test/"
HOUR = timedelta(hours=1)
PATIENCE = 30.0


class Authorities:
    """The port `Web`, with a clock; answers while `open` is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.seconds = 0.0
        self.says = b"fine"
        self.fault: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.asked: Counter[str] = Counter()
        self.kept = KeptStatements(
            self, seconds=PATIENCE, octets=10_000, clock=lambda: self.now, monotonic=lambda: self.seconds
        )

    async def fetch(self, url: str, *, posted: bytes, most: int, seconds: float) -> bytes:
        assert (most, seconds) == (100, PATIENCE)
        self.asked[url] += 1
        self.open.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        return self.says + posted

    def read(self, data: bytes) -> tuple[str, datetime]:
        if data == b"bad":
            raise CryptoError("it is bad")
        return data.decode(), self.now + HOUR

    def get(self, url: str = URL, *, seconds: float = PATIENCE, posted: bytes = b"", mark: bytes = b"") -> str:
        return self.kept.get(url, self.read, posted=posted, mark=mark, most=100, seconds=seconds)


@pytest.fixture
def authorities() -> Authorities:
    """Give authorities, and what keeps their statements."""
    return Authorities()


def test_kept_until_it_ends(authorities: Authorities) -> None:
    """What was fetched is given until it ends, and no longer."""
    assert authorities.get() == "fine"
    authorities.now += HOUR / 2
    authorities.says = b"other"
    assert authorities.get() == "fine"
    assert authorities.asked[URL] == 1
    authorities.now += HOUR
    assert authorities.get() == "other"


def test_refreshed_ahead(authorities: Authorities) -> None:
    """Near its end, it is given once more and fetched anew meanwhile."""
    authorities.get()
    authorities.now += HOUR * 0.95
    authorities.says = b"other"
    assert authorities.get() == "fine"
    until(lambda: authorities.get() == "other", 10, "the new one is there")


def test_what_an_answer_depends_on(authorities: Authorities) -> None:
    """Another question, or another reader, is asked for itself."""
    assert authorities.get(posted=b"1") == "fine1"
    assert authorities.get(posted=b"2") == "fine2"
    authorities.get(posted=b"2", mark=b"x")
    assert authorities.asked[URL] == 3


def test_asked_once_at_a_time(authorities: Authorities) -> None:
    """All who ask for the same share one fetch."""
    authorities.open.clear()
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(authorities.get) for _ in range(8)]
        until(lambda: authorities.asked[URL], 10, "it is asked")
        authorities.open.set()
        assert {one.result() for one in answers} == {"fine"}
    assert authorities.asked[URL] == 1


def test_nobody_waits_too_long(authorities: Authorities) -> None:
    """Who asked waits no longer than told; what comes later is found by the next question."""
    authorities.open.clear()
    with pytest.raises(LookUpFailed, match="no complete answer in time"):
        authorities.get(seconds=0.05)
    with pytest.raises(LookUpFailed, match="no complete answer in time"):
        authorities.get(seconds=-1)
    authorities.open.set()
    assert authorities.get() == "fine"
    assert authorities.asked[URL] == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [(LookUpFailed("it is silent"), b""), (None, b"bad"), (RuntimeError("x"), b"")],
    ids=["silent", "bad", "broken"],
)
def test_left_alone_after_a_failure(authorities: Authorities, fault: Exception | None, says: bytes) -> None:
    """What failed, or was not taken, is not asked for a minute, and then again."""
    authorities.fault, authorities.says = fault, says
    for _ in range(3):
        with pytest.raises(LookUpFailed):
            authorities.get()
    assert authorities.asked[URL] == 1
    authorities.fault, authorities.says = None, b"fine"
    authorities.seconds += LEFT_ALONE
    assert authorities.get() == "fine"


def test_a_failed_refresh_leaves_what_is_kept(authorities: Authorities) -> None:
    """What is kept holds until its end, whatever comes of asking again."""
    authorities.get()
    authorities.now += HOUR * 0.95
    authorities.fault = LookUpFailed("it is silent")
    for _ in range(3):
        assert authorities.get() == "fine"
    until(lambda: authorities.asked[URL] == 2, 10, "it is asked again")


def test_little_is_kept(authorities: Authorities) -> None:
    """The one that was not asked for the longest goes first."""
    for name in ("a", "b", "c", "d", "a", "e"):
        authorities.get(name)
    authorities.get("a")
    assert authorities.asked["a"] == 1
    authorities.get("b")
    assert authorities.asked["b"] == 2


def test_few_are_asked_at_a_time(authorities: Authorities) -> None:
    """Beyond a number of fetches under way, a question fails at once."""
    authorities.open.clear()
    for number in range(64):
        with pytest.raises(LookUpFailed, match="in time"):
            authorities.get(f"http://{number}.test/", seconds=0)
    with pytest.raises(LookUpFailed, match="too many"):
        authorities.get()
    authorities.open.set()


def test_the_end(authorities: Authorities) -> None:
    """Once closed, nothing new is asked; what is kept is given."""
    authorities.get()
    authorities.kept.close()
    assert authorities.get() == "fine"
    with pytest.raises(LookUpFailed, match="the process ends"):
        authorities.get("http://other.test/")
