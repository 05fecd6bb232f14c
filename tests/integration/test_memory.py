"""
What messages and sessions cost in memory, summed over all of Gatepost's processes.
"""

import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab.client import Envelope, send
from lab.letter import canary, letter, multipart, part, pgp_mime
from lab.memory import Watch, family, own
from lab.town import Town
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

_KINDS = ("openpgp", "pass", "decrypt", "hold")
_NEGOTIATION = struct.pack(">IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF)
_MEGABYTE = 1_000_000


def _mail(town: Town, kind: str, size: int) -> tuple[int, Envelope, Callable[[], bytes]]:
    """Give the port, the envelope, and what makes a message of so many octets that is treated so."""
    line, body = multipart("mixed", part(os.urandom(size * 72 // 100), "application/octet-stream"))
    if kind == "decrypt":
        line, body = pgp_mime(town.gpg.encrypt(line.encode() + b"\r\n\r\n" + body, ["hosp.test"]))
        sender, to, port = "ann@pgp.test", "doc@hosp.test", town.postfix.outside_port
    else:
        to = {"openpgp": "ann@pgp.test", "pass": "bob@plain.test", "hold": "none@pgp.test"}[kind]
        sender, port = "sue@hosp.test", town.postfix.inside_port
    return port, Envelope(sender, (to,)), lambda: letter(body, sender=sender, to=to, fields=[line])


def _send_at_once(town: Town, kind: str, *, count: int, size: int) -> Watch:
    port, envelope, message = _mail(town, kind, size)
    with ThreadPoolExecutor(count) as pool, Watch(lambda: family([town.site.pid])) as watch:
        outcomes = list(pool.map(lambda _: send(port, envelope, message(), timeout=500), range(count)))
    assert [outcome.reply for outcome in outcomes if not outcome.ok] == []
    town.postfix.wait_queue_empty(120)
    return watch


def _told(kind: str, count: int, size: int, watch: Watch) -> str:
    megabytes = watch.added / _MEGABYTE
    return f"{count} messages of {size // _MEGABYTE} MB at once, {kind}: at most {megabytes:.0f} MB more"


@pytest.mark.parametrize("kind", _KINDS)
def test_five_messages_of_10_mb(the_town: Town, kind: str, counted: Callable[[str], None]) -> None:
    """Five messages of 10 MB at once take little more than two of them weigh, in all."""
    watch = _send_at_once(the_town, kind, count=5, size=10 * _MEGABYTE)

    counted(_told(kind, 5, 10 * _MEGABYTE, watch))
    assert watch.added <= 140 * _MEGABYTE, watch.shares


@pytest.mark.soak
@pytest.mark.parametrize("kind", _KINDS)
def test_ten_messages_of_25_mb(the_town: Town, kind: str, counted: Callable[[str], None]) -> None:
    """Ten messages of 25 MB at once add at most 200 MB to all processes together."""
    the_town.site.restart()

    watch = _send_at_once(the_town, kind, count=10, size=25 * _MEGABYTE)

    counted(_told(kind, 10, 25 * _MEGABYTE, watch))
    assert watch.added <= 200 * _MEGABYTE, watch.shares


def _idle(town: Town, stack: ExitStack, count: int) -> None:
    """Open so many sessions, negotiated and then silent, as Postfix keeps them for idle clients."""
    path = str(town.site.setting("gateway.socket")).removeprefix("unix:")
    for _ in range(count):
        session = stack.enter_context(socket.socket(socket.AF_UNIX))
        session.settimeout(60)
        session.connect(path)
        session.sendall(_NEGOTIATION)
        assert session.recv(1), "the session was refused"


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def wide_town(shared_town: Town) -> Iterator[Town]:
    """Give a town whose milter takes 1,300 sessions."""
    site = shared_town.site
    kept = site.config.read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))  # for this end of the sessions
    site.set("gateway.max_sessions", 1300)
    site.restart()
    yield shared_town
    site.config.write_text(kept)
    site.restart()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_cost_nothing_that_grows(wide_town: Town) -> None:
    """Two hundred idle sessions cost little, and the fifth two hundred no more than the second."""
    (milter,) = wide_town.site.service_pids("milter")
    before, levels = _descriptors(milter), [own(milter)]
    for _ in range(5):
        with ExitStack() as stack:
            _idle(wide_town, stack, 200)
            levels.append(own(milter))
        until(lambda: _descriptors(milter) <= before + 5, 60, "the sessions' descriptors are closed")

    assert levels[1] - levels[0] < 20 * _MEGABYTE
    assert levels[5] - levels[2] < 4 * _MEGABYTE


def test_more_sessions_than_select_could_tell_apart(wide_town: Town) -> None:
    """With descriptors above 1,024 in use, sessions are still served, and mail goes on."""
    wide_town.clear()
    (milter,) = wide_town.site.service_pids("milter")
    with ExitStack() as stack:
        _idle(wide_town, stack, 1100)
        assert _descriptors(milter) > 1100

        word = canary()
        assert wide_town.send("sue@hosp.test", "ann@pgp.test", message=letter(word)).ok
        assert word.encode() not in wide_town.outside.wait_for(1)[0].data
