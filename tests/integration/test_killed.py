"""
Killed at any moment, Gatepost sends nothing in clear that must be protected, and loses and doubles nothing.

Proxies on the milter's socket and before the re-injection listeners wait until messages stand at one step
of the protocol and then kill the milter with SIGKILL. The clients retry as mail servers do. The oracle knows
only what the receivers got: a canary in every body, and who may see it in clear. Twice is allowed only where
Gatepost's record of the message says `possible-duplicate` for that recipient.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from lab.client import Envelope, send_until_taken
from lab.fault_site import interpose
from lab.letter import canary, letter
from lab.place import short_folder
from lab.proxy import ListenerProxy
from lab.sink import Received
from lab.town import Town, build
from lab.trap import Trap

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

_TOGETHER = 10  # messages that stand at the step when the process is killed
_RECIPIENTS = ("doc@hosp.test", "ann@pgp.test", "bob@plain.test", "carol@tls.test")
_CLEAR = {"doc@hosp.test", "bob@plain.test"}

_STEPS = (
    ">CONNECT", ">MAIL", ">RCPT", ">HEADER", ">EOH", ">BODY", ">EOM",
    "<DELRCPT", "<ACCEPT",
    "smtp>MAIL", "smtp>RCPT", "smtp>DATA", "smtp>DOT", "smtp<MAIL", "smtp<RCPT", "smtp<DATA", "smtp<DOT",
)  # fmt: skip
_STEPS_IN_PLACE = ("<ADDHEADER", "<REPLBODY", "<ACCEPT")


@dataclass(frozen=True)
class Watched:
    """A town whose milter and re-injection run through proxies."""

    town: Town
    trap: Trap
    listener: ListenerProxy


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """Give a town with proxies before the milter's socket and the re-injection listeners."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        town = build(folder, stack)
        trap = Trap()
        plain, _ = interpose(town, stack, trap)
        stack.enter_context(town.postfix)
        stack.callback(town.site.stop)
        town.site.start()
        yield Watched(town, trap, plain)


def _mail(word: str) -> bytes:
    filler = "filler to make a body of more than one line\r\n" * 50
    return letter(f"{word}\r\n{filler}", sender="sue@hosp.test", message_id=_id_of(word))


def _id_of(word: str) -> str:
    """Give the Message-ID, which may be seen: it does not hold the canary as the body does."""
    return f"<{word.lower()}@hosp.test>"


def _strike(watched: Watched, step: str, recipients: tuple[str, ...], *, together: int, after: bool) -> int:
    """Kill the milter once with `together` messages at `step`; give how many stood there."""
    town, trap = watched.town, watched.trap
    canaries = [canary() for _ in range(together)]
    town.clear()
    trap.arm(step, lambda: town.site.kill_service("milter"), connections=together, after=after)
    with ThreadPoolExecutor(together) as pool:
        envelope = Envelope("sue@hosp.test", recipients)
        port = town.postfix.inside_port
        list(pool.map(lambda word: send_until_taken(port, envelope, _mail(word), timeout=90), canaries))
    assert trap.struck.wait(60), f"no message came to {step}"
    trap.disarm()
    town.postfix.wait_queue_empty(60)
    _judge(town, canaries, recipients)
    return trap.caught


def _judge(town: Town, words: Sequence[str], recipients: tuple[str, ...]) -> None:
    """Every recipient got every message, once if it is not told otherwise, and nobody in clear who must not."""
    got: dict[str, Counter[str]] = {word: Counter() for word in words}
    for message in (message for sink in town.sinks for message in sink.messages):
        in_clear = [word for word in words if word.encode() in message.data]
        if in_clear:
            assert set(message.addresses) <= _may_see(message), f"{in_clear} in clear at {message.addresses}"
        opened = town.gpg.decrypt(message.data).data if b"-----BEGIN PGP MESSAGE-----" in message.data else b""
        for word in words:
            if word in in_clear or word.encode() in opened:
                got[word].update(message.addresses)
    missing = {word: set(recipients) - set(reached) for word, reached in got.items()}
    assert not any(missing.values())
    twice = {word: {address for address, times in reached.items() if times > 1} for word, reached in got.items()}
    unsaid = {word: addresses - _told(town, word) for word, addresses in twice.items() if addresses}
    assert not any(unsaid.values())


def _told(town: Town, word: str) -> set[str]:
    """Name the recipients of a message who may have got it twice, as Gatepost's record says."""
    events = town.site.json("why", _id_of(word))["events"]
    return {one["recipient"] for one in events if one["detail"].get("possible-duplicate")}


def _may_see(message: Received) -> set[str]:
    return _CLEAR | ({"carol@tls.test"} if message.tls is not None else set())


def _rounds(
    watched: Watched, step: str, recipients: tuple[str, ...], *, kills: int, together: int
) -> tuple[int, int]:
    """Kill at least `kills` times, and until `kills * together` messages stood there; give both numbers."""
    struck = caught = 0
    while struck < kills or (caught < kills * together and struck < 3 * kills):
        caught += _strike(watched, step, recipients, together=together, after=bool(struck % 2))
        struck += 1
    return struck, caught


class TestKilledAtEachStep:
    @pytest.mark.parametrize("step", _STEPS)
    def test_a_split_message(self, watched: Watched, step: str, counted: Callable[[str], None]) -> None:
        """A message to four kinds of recipients survives a kill at each step, at least 20 messages a step."""
        struck, caught = _rounds(watched, step, _RECIPIENTS, kills=2, together=_TOGETHER)

        counted(f"SIGKILL at {step}, split message: {struck} kills, {caught} messages stood there")
        assert caught >= 2 * _TOGETHER

    @pytest.mark.parametrize("step", _STEPS_IN_PLACE)
    def test_a_message_encrypted_in_place(
        self, watched: Watched, step: str, counted: Callable[[str], None]
    ) -> None:
        """A message that is edited in place survives a kill between any two edits."""
        if step not in _edits_in_place(watched):
            pytest.fail(f"{step} does not occur: take it off the list")
        struck, caught = _rounds(watched, step, ("ann@pgp.test",), kills=2, together=_TOGETHER)

        counted(f"SIGKILL at {step}, in place: {struck} kills, {caught} messages stood there")
        assert caught >= 2 * _TOGETHER


_ONE_HIDDEN = ("doc@hosp.test", "ann@pgp.test", "eve@pgp.test")  # eve stands in no field: a copy of her own


def _send_one(watched: Watched, word: str) -> Counter[str]:
    """Send a message that takes three copies until it is taken; count what each recipient got."""
    town, got = watched.town, Counter[str]()
    message = letter(
        f"{word}\r\n", sender="sue@hosp.test", to="doc@hosp.test, ann@pgp.test", message_id=_id_of(word)
    )
    send_until_taken(town.postfix.inside_port, Envelope("sue@hosp.test", _ONE_HIDDEN), message, timeout=90)
    assert watched.trap.struck.is_set()
    town.postfix.wait_queue_empty(60)
    for received in (one for sink in town.sinks for one in sink.messages):
        if word.encode() in received.data:
            assert received.addresses == ("doc@hosp.test",)
        got.update(received.addresses)
    return got


class TestTwoCopies:
    def test_killed_between_them(self, watched: Watched) -> None:
        """Killed when the first copy was taken and before the second goes: everyone gets the message once."""
        watched.town.site.restart()  # no connection is open: the first NOOP comes before the second copy
        watched.town.clear()
        watched.trap.arm("smtp>NOOP", lambda: watched.town.site.kill_service("milter"))

        assert Counter(_ONE_HIDDEN) == _send_one(watched, canary())

    def test_a_lost_reply(self, watched: Watched) -> None:
        """Where the reply to a final dot is lost, that copy alone goes once more, and the record says so."""
        watched.town.site.restart()
        watched.town.clear()
        watched.trap.arm("smtp<DOT", watched.listener.cut)
        word = canary()

        got = _send_one(watched, word)

        twice = got - Counter(_ONE_HIDDEN)
        assert twice.total() == 1
        assert set(twice) == _told(watched.town, word)


@pytest.mark.soak
@pytest.mark.timeout(7200)
class TestKilledTwentyTimesAtEachStep:
    @pytest.mark.parametrize("step", _STEPS)
    def test_a_split_message(self, watched: Watched, step: str, counted: Callable[[str], None]) -> None:
        """Twenty kills a step, each with one message there."""
        struck, caught = _rounds(watched, step, _RECIPIENTS, kills=20, together=1)

        counted(f"SIGKILL at {step}, split message, one by one: {struck} kills, {caught} messages stood there")
        assert struck >= 20


def _edits_in_place(watched: Watched) -> set[str]:
    """Give the kinds of edits that one message in place brings about."""
    before = watched.trap.seen.copy()
    send_until_taken(
        watched.town.postfix.inside_port, Envelope.of("sue@hosp.test", "ann@pgp.test"), _mail(canary())
    )
    return set(watched.trap.seen - before)
