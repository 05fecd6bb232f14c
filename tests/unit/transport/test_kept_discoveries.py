"""The cache of discoveries: it saves time, and nothing depends on it."""

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.errors import StorageError
from gatepost.transport import kept_discoveries
from gatepost.transport.capability import Discovery, Method
from gatepost.transport.kept_discoveries import KeptDiscoverer

FOUND = Discovery("p.test", ("mx.p.test",), Method(True, "dane-only"), Method(False), ("MX",), 600)
DOUBT = replace(FOUND, dane=Method(assured=False, unknown=True), seconds=30)

texts = st.lists(st.text(max_size=20), max_size=3).map(tuple)
no = st.builds(Method, assured=st.just(False), unknown=st.booleans(), steps=texts)
names = st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,5}", fullmatch=True)
sts_lines = st.lists(names, min_size=1, max_size=3, unique=True).map(
    lambda hosts: f"secure match={':'.join(hosts)} servername=hostname"
)
discoveries = st.builds(
    Discovery,
    hop=names,
    hosts=st.lists(names, max_size=3).map(tuple),
    dane=no | st.builds(Method, st.just(True), st.just("dane-only"), steps=texts),
    sts=no | st.builds(Method, st.just(True), sts_lines, steps=texts),
    steps=texts,
    seconds=st.integers(30, 86_400),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["hosts", "dane", "sts", "steps", "assured", "policy", "unknown"]), inner, max_size=7
        )
    ),
    max_leaves=20,
)


@given(discoveries)
def test_written_and_read(found: Discovery) -> None:
    """What is written is read back, whatever the steps hold."""
    text = kept_discoveries.to_text(found)
    assert text.isascii()
    assert kept_discoveries.from_text(found.hop, text, found.seconds) == found


@given(st.text() | values.map(json.dumps))
def test_anything_else_assures_nothing(text: str) -> None:
    """Whatever a row holds, reading it gives a discovery or a ValueError, and never a policy that is none."""
    try:
        found = kept_discoveries.from_text("p.test", text, 60)
    except ValueError:
        return
    assert found.dane.policy in {"", "dane-only"}
    assert not found.sts.policy or found.sts.policy.startswith("secure match=")


def claiming(method: str = "dane", **values: object) -> str:
    written = json.loads(kept_discoveries.to_text(FOUND))
    written[method] |= values
    return json.dumps(written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        claiming(policy="may"),
        claiming(policy="secure match=partner.test servername=hostname"),
        claiming(policy="dane-only match=x"),
        claiming(policy=""),
        claiming(policy=7),
        claiming(assured="yes"),
        claiming(assured=1),
        claiming(assured=False),
        claiming(unknown=True),
        claiming(unknown=0),
        claiming(steps="all is well"),
        claiming(steps=[1]),
        claiming(steps=None),
        claiming(more=1),
        claiming("sts", assured=True),
        claiming("sts", assured=True, policy="dane-only"),
        claiming("sts", assured=True, policy="encrypt"),
        claiming("sts", policy="secure match=p.test servername=hostname"),
        claiming("sts", policy=0),
        claiming("sts", unknown="no"),
    ],
)
def test_what_claims_more_than_a_look_up_finds(text: str) -> None:
    """A row that is broken, or that assures by what assures nothing, is refused whole."""
    with pytest.raises(ValueError, match=r"."):
        kept_discoveries.from_text("p.test", text, 60)


class Live:
    """Look-ups that give one answer after the other."""

    def __init__(self, *answers: Discovery) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def discover(self, hop: str) -> Discovery:
        assert hop == "p.test"
        self.asked += 1
        return self._answers.pop(0)


class Store:
    """Keeps in memory; fails or hangs if told to."""

    def __init__(self, *, broken: bool = False) -> None:
        self.kept: dict[str, Discovery] = {}
        self.answers = threading.Event()
        self.answers.set()
        self._broken = broken

    def _meet(self) -> None:
        self.answers.wait(60)
        if self._broken:
            raise StorageError("down")

    def find(self, hop: str, now: datetime) -> Discovery | None:
        assert now.tzinfo is UTC
        self._meet()
        return self.kept.get(hop)

    def keep(self, found: Discovery, now: datetime) -> None:
        assert now.tzinfo is UTC
        self._meet()
        self.kept[found.hop] = found


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a slow machine take its time."""
    monkeypatch.setattr(kept_discoveries, "_STORE_SECONDS", 60)


def run(live: Live, store: Store, *, refresh: bool = False) -> Discovery:
    async def ask() -> Discovery:
        cache = KeptDiscoverer(live, store)
        found = await (cache.refresh if refresh else cache.discover)("p.test")
        await asyncio.gather(*cache._writings)
        assert not cache._writings, "what has been written is not remembered"
        return found

    return asyncio.run(ask())


def test_live_once() -> None:
    """What is not kept is looked up and kept; what is kept is not looked up."""
    live, store = Live(FOUND), Store()
    assert run(live, store) == FOUND
    assert run(live, store) == FOUND
    assert live.asked == 1


def test_refreshed() -> None:
    """A refresh looks up although something is kept, and keeps what it found."""
    live, store = Live(replace(FOUND, seconds=900)), Store()
    store.kept["p.test"] = FOUND
    assert run(live, store, refresh=True).seconds == 900
    assert store.kept["p.test"].seconds == 900


def test_doubt_takes_the_place_of_nothing_known() -> None:
    """A resolver that fails while a refresh runs takes nothing away that is not over yet."""
    store = Store()
    store.kept["p.test"] = FOUND
    assert run(Live(DOUBT), store, refresh=True) == FOUND
    assert store.kept["p.test"] == FOUND


def test_doubt_is_kept_for_its_moment() -> None:
    """Where nothing is kept, doubt is: the resolver is not asked again at once."""
    live, store = Live(DOUBT, replace(DOUBT, seconds=29)), Store()
    assert run(live, store) == DOUBT
    assert run(live, store) == DOUBT
    assert live.asked == 1
    assert run(live, store, refresh=True).seconds == 29


def test_without_the_database(capsys: pytest.CaptureFixture[str]) -> None:
    """A database that is down costs the cache and nothing else; the log tells."""
    assert run(Live(FOUND), Store(broken=True)) == FOUND
    assert "the cache of look-ups does not answer cause=down" in capsys.readouterr().err


def test_with_a_database_that_hangs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does one that does not answer keep anybody waiting."""
    monkeypatch.setattr(kept_discoveries, "_STORE_SECONDS", 0.05)
    store = Store()
    store.answers.clear()
    try:
        assert run(Live(FOUND), store) == FOUND
    finally:
        store.answers.set()
    assert "no answer within 0.05 s" in capsys.readouterr().err
