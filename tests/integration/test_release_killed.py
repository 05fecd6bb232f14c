"""
A release from quarantine is killed: the next one sends what did not surely go, and says what may have gone twice.

A proxy before the re-injection listener kills the command `gatepost quarantine release` at a step of the protocol.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from lab.client import Envelope, send
from lab.gpg import Gpg
from lab.letter import canary, letter
from lab.place import free_port, short_folder
from lab.postfix import Postfix
from lab.proxy import ListenerProxy
from lab.sink import Sink
from lab.site import GatepostSite
from lab.trap import Trap

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_RULE = """\
[[rule]]
name = "held for a look"
when = { direction = "out", subject = "^look" }
demand = "quarantine"
"""


@dataclass(frozen=True)
class Place:
    """A site whose re-injection runs through a proxy, its Postfix, and a receiver outside who has a key."""

    site: GatepostSite
    postfix: Postfix
    trap: Trap
    outside: Sink
    gpg: Gpg


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with short_folder() as folder, ExitStack() as stack:
        gpg = Gpg(folder / "gpg")
        stack.callback(gpg.close)
        outside = stack.enter_context(Sink())
        inside = stack.enter_context(Sink())
        routes = {"plain.test": outside.port, "hosp.test": inside.port}
        postfix = Postfix(folder / "p", routes=routes, relay_domains=["hosp.test"])
        site = GatepostSite(folder / "gatepost", postfix, domains=["hosp.test"]).create()
        (site.folder / "rules" / "look.toml").write_text(_RULE)
        keys = gpg.export_to(folder / "kim.asc", "Kim <kim@plain.test>")
        site.gatepost("key", "import", keys, "--for", "kim@plain.test")
        listener, port = int(str(site.setting("gateway.reinject")).rpartition(":")[2]), free_port()
        secrets = site.folder / "secrets"
        pems = {"listener_pem": secrets / "listener.pem", "client_pem": secrets / "client.pem"}
        trap = Trap()
        stack.enter_context(ListenerProxy(trap, port, listener, **pems))
        site.set("gateway.reinject", f"127.0.0.1:{port}")
        stack.enter_context(postfix)
        stack.callback(site.stop)
        site.start()
        yield Place(site, postfix, trap, outside, gpg)


def _message_id(word: str) -> str:
    return f"<{word.lower()}@hosp.test>"


def _held(place: Place, word: str) -> str:
    """Have a message held; give the ID of its copy. What came before is forgotten."""
    place.outside.clear()
    message = letter(
        f"{word}\r\n",
        sender="ann@hosp.test",
        to="kim@plain.test",
        subject=f"look {word}",
        message_id=_message_id(word),
    )
    assert send(place.postfix.inside_port, Envelope.of("ann@hosp.test", "kim@plain.test"), message).ok
    (held,) = (one for one in place.site.json("quarantine", "list")["held"] if word in one["subject"])
    return str(held["id"])


def _killed(place: Place, held: str, step: str, *, after: bool) -> None:
    """Release a copy, and kill the command when it stands at `step`."""
    running: list[subprocess.Popen[bytes]] = []
    place.trap.arm(step, lambda: running[0].kill(), after=after)  # noqa: PLW0108 - it is started afterwards
    command = [sys.executable, "-m", "gatepost", "-c", str(place.site.config), "quarantine", "release", held]
    running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    assert running[0].wait(60) == -9
    assert place.trap.struck.is_set()
    place.trap.disarm()


@pytest.mark.parametrize(
    ("step", "after"),
    [("smtp>DATA", False), ("smtp>DOT", True), ("smtp<DOT", False)],
)
def test_the_next_release_finishes(place: Place, step: str, *, after: bool) -> None:
    """
    Killed at any step, a release loses nothing, and what goes twice is told as such.

    The next release ends it: the copy is held no longer and came at least once, readable by its receiver alone.
    """
    word = canary()
    held = _held(place, word)
    _killed(place, held, step, after=after)
    assert [one["id"] for one in place.site.json("quarantine", "list")["held"]] == [held]

    released = place.site.json("quarantine", "release", held)

    place.outside.wait_for_recipients(["kim@plain.test"])
    place.postfix.wait_queue_empty()
    came = [one for one in place.outside.messages if word.encode() in place.gpg.decrypt(one.body).data]
    assert len(came) in ((1, 2) if released["released"][0]["possible_duplicate"] else (1,))
    assert all(word.encode() not in one.body for one in place.outside.messages)
    assert place.site.json("quarantine", "list")["held"] == []
    events = place.site.json("why", _message_id(word))["events"]
    (told,) = (one["detail"] for one in events if one["treatment"] == "openpgp")
    assert told.get("possible-duplicate", False) is released["released"][0]["possible_duplicate"]


def test_a_copy_that_was_noted_is_not_sent_again(place: Place) -> None:
    """Killed by nothing, a release sends once and flags nothing; a second one finds nothing held."""
    word = canary()
    held = _held(place, word)

    released = place.site.json("quarantine", "release", held)

    place.postfix.wait_queue_empty()
    assert released["released"][0]["possible_duplicate"] is False
    again = place.site.gatepost("quarantine", "release", held, check=False)
    assert again.returncode == 1
    assert "held no longer: released" in again.stderr
