"""
Two hosts, each with its Postfix and its Gatepost, share one PostgreSQL and take turns on the same message.

The client comes to the one, then to the other, as a mail server does that has two to choose from. The oracle knows
only what the receivers got: a canary in every body, and who may see it in clear.
"""

import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from lab.client import Envelope, Reply, send, send_until_taken
from lab.letter import canary, letter
from lab.place import free_port, short_folder
from lab.postfix import Postfix
from lab.postgresql import ROLE, PostgreSQL
from lab.proxy import ListenerProxy, MilterProxy
from lab.site import GatepostSite
from lab.town import OWN, Town, build
from lab.trap import Trap

from gatepost.db import schema
from gatepost.db.engine import Database

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

_DATABASE = "hosts"
_ENVELOPE = Envelope.of("sue@hosp.test", "doc@hosp.test", "ann@pgp.test", "carol@tls.test")
_CLEAR = {"doc@hosp.test"}
_SHARED_SECRETS = ("keys", "keys.pub", "vault", "vault.pub")


@dataclass(frozen=True)
class Hosts:
    """The town's own host is the first; its milter and its re-injection run through proxies."""

    town: Town
    trap: Trap
    milter: MilterProxy
    second: Postfix
    second_site: GatepostSite
    server: PostgreSQL

    @property
    def first(self) -> Postfix:
        """The first host's mail server."""
        return self.town.postfix

    @property
    def sites(self) -> tuple[GatepostSite, GatepostSite]:
        """Both hosts' Gatepost."""
        return self.town.site, self.second_site

    def sql(self, statement: str) -> str:
        """Run SQL as the database's admin does, by psql."""
        return self.server.psql(statement, _DATABASE, role=ROLE)

    def lose(self) -> None:
        """Kill the first host's Gatepost; what it has just answered is lost."""
        self.milter.cut()
        self.town.site.kill()

    def settle(self) -> None:
        """Wait until neither mail server has anything left."""
        for postfix in (self.first, self.second):
            postfix.wait_queue_empty(60)


@pytest.fixture(scope="module")
def both(postgresql: PostgreSQL) -> Iterator[Hosts]:
    """Give two hosts on one database."""
    with ExitStack() as stack:
        url = postgresql.create_database(_DATABASE)
        stack.callback(postgresql.drop_database, _DATABASE)
        schema.upgrade(database := Database(url))
        database.close()
        folder = stack.enter_context(short_folder())
        town = build(folder, stack, settings={"database.url": url})
        trap, milter = _watch(town, stack)
        routes: dict[str, int | str] = {
            OWN: town.inside.port,
            "plain.test": town.outside.port,
            "pgp.test": town.outside.port,
            "tls.test": town.tls.port,
        }
        second = Postfix(folder / "q", hostname="mail2.hosp.test", routes=routes, relay_domains=[OWN])
        settings = {"database.url": url, "vault.url": f"file://{town.site.folder}/vault"}
        site = GatepostSite(folder / "second", second, domains=[OWN], settings=settings).create()
        for name in _SHARED_SECRETS:
            shutil.copy(town.site.folder / "secrets" / name, site.folder / "secrets" / name)
        for postfix, gatepost in ((town.postfix, town.site), (second, site)):
            stack.enter_context(postfix)
            stack.callback(gatepost.stop)
            gatepost.start()
        yield Hosts(town, trap, milter, second, site, postgresql)


def _watch(town: Town, stack: ExitStack) -> tuple[Trap, MilterProxy]:
    """Put proxies before the milter's socket and the re-injection listener of the town's host."""
    trap = Trap()
    known = Path(str(town.site.setting("gateway.socket")).removeprefix("unix:"))
    own = known.with_name("own.sock")
    town.site.set("gateway.socket", f"unix:{own}")
    milter = stack.enter_context(MilterProxy(trap, known, own))
    listener, port = int(str(town.site.setting("gateway.reinject")).rpartition(":")[2]), free_port()
    town.site.set("gateway.reinject", f"127.0.0.1:{port}")
    secrets = town.site.folder / "secrets"
    pems = {"listener_pem": secrets / "listener.pem", "client_pem": secrets / "client.pem"}
    stack.enter_context(ListenerProxy(trap, port, listener, **pems))
    return trap, milter


@pytest.fixture
def hosts(both: Hosts) -> Iterator[Hosts]:
    """Give both hosts, running, with nothing received."""
    both.town.clear()
    yield both
    both.trap.disarm()
    both.settle()


def _id_of(word: str) -> str:
    return f"<{word.lower()}@hosp.test>"


@cache  # each try brings the same Date
def _mail(word: str) -> bytes:
    return letter(f"{word}\r\n", sender="sue@hosp.test", message_id=_id_of(word))


def _try(postfix: Postfix, word: str) -> Reply:
    return send(postfix.inside_port, _ENVELOPE, _mail(word)).reply


def _judge(hosts: Hosts, words: Sequence[str]) -> dict[str, Counter[str]]:
    """Everyone got all, once if it is not told otherwise, nobody in clear who must not; give how often."""
    hosts.settle()
    got: dict[str, Counter[str]] = {word: Counter() for word in words}
    for message in (one for sink in hosts.town.sinks for one in sink.messages):
        encrypted = b"-----BEGIN PGP MESSAGE-----" in message.data
        opened = hosts.town.gpg.decrypt(message.data).data if encrypted else b""
        for word in words:
            if word.encode() in message.data:
                allowed = _CLEAR | ({"carol@tls.test"} if message.tls is not None else set())
                assert set(message.addresses) <= allowed
            if word.encode() in message.data + opened:
                got[word].update(message.addresses)
    for word, reached in got.items():
        assert set(reached) == set(_ENVELOPE.recipients)
        events = hosts.second_site.json("why", _id_of(word))["events"]
        told = {one["recipient"] for one in events if one["detail"].get("possible-duplicate")}
        assert {address for address, times in reached.items() if times > 1} <= told
    return got


@pytest.mark.parametrize(
    ("step", "most"),
    [("smtp>MAIL", 3), ("smtp>DOT", 4), ("smtp<DOT", 4)],
    ids=["at the first copy", "at its final dot", "before the reply to it"],
)
def test_the_second_host_finishes(hosts: Hosts, step: str, most: int) -> None:
    """The first host dies while it submits; the retry finds its plan at the second, which finishes it."""
    word = canary()
    hosts.trap.arm(step, hosts.town.site.kill)
    try:
        assert _try(hosts.first, word).temporary
        assert hosts.trap.struck.wait(30)
        assert _try(hosts.second, word).temporary  # the dead host's lease is not over yet
        hosts.sql("UPDATE journal SET lease = now()")
        assert _try(hosts.second, word).ok
    finally:
        hosts.town.site.start()  # what its Postfix has taken for the TLS route needs the policy service

    (got,) = _judge(hosts, [word]).values()
    assert got.total() <= most


def test_the_verdict_is_lost(hosts: Hosts) -> None:
    """The first host dies when all is done but the verdict: the second repeats that alone, and says so."""
    word = canary()
    hosts.trap.arm("<ACCEPT", hosts.lose)
    try:
        assert _try(hosts.first, word).temporary
        assert hosts.trap.struck.wait(30)
        assert _try(hosts.second, word).ok  # the lease was given back with the verdict
    finally:
        hosts.town.site.start()

    assert list(_judge(hosts, [word]).values()) == [Counter(_ENVELOPE.recipients)]


def test_a_second_try_meanwhile_is_put_off(hosts: Hosts) -> None:
    """While one host submits, the other answers 4xx to the same message; everyone gets it once."""
    word, meanwhile = canary(), list[Reply]()
    hosts.trap.arm("smtp>DOT", lambda: meanwhile.append(_try(hosts.second, word)))

    assert _try(hosts.first, word).ok
    assert [(reply.code // 100) for reply in meanwhile] == [4]
    assert list(_judge(hosts, [word]).values()) == [Counter(_ENVELOPE.recipients)]


def test_both_at_once(hosts: Hosts) -> None:
    """Clients that hand the same messages to both hosts at the same moment get both to agree."""
    words = [canary() for _ in range(6)]

    def deliver(postfix: Postfix, word: str) -> None:
        send_until_taken(postfix.inside_port, _ENVELOPE, _mail(word), timeout=90)

    with ThreadPoolExecutor(2 * len(words)) as pool:
        for task in [
            pool.submit(deliver, postfix, word) for word in words for postfix in (hosts.first, hosts.second)
        ]:
            task.result()

    for got in _judge(hosts, words).values():
        assert (got["ann@pgp.test"], got["carol@tls.test"]) == (1, 1)


def test_an_edit_by_psql_is_seen_by_both(hosts: Hosts) -> None:
    """A row that an admin writes counts on both hosts within five seconds, without a word to the daemons."""
    envelope = Envelope.of("sue@hosp.test", "bob@plain.test")
    ports = (hosts.first.inside_port, hosts.second.inside_port)
    for port in ports:  # now both remember that there is no such partner
        assert send(port, envelope, letter("in clear\r\n")).ok
    hosts.sql("INSERT INTO partner (pattern, demand, ladder) VALUES ('plain.test', 'encrypt', 'openpgp')")
    time.sleep(5)
    word = canary()
    try:
        for port in ports:
            assert send(port, envelope, letter(f"{word}\r\n")).ok
        hosts.settle()
    finally:
        hosts.sql("DELETE FROM partner WHERE pattern = 'plain.test'")

    assert [message for message in hosts.town.outside.messages if word.encode() in message.data] == []
    held = [site.json("quarantine", "list")["held"] for site in hosts.sites]
    assert [len(rows) for rows in held] == [2, 2]


def test_without_the_database(hosts: Hosts) -> None:
    """While the database is gone both hosts put everything off; when it is back, all goes on by itself."""
    word = canary()
    hosts.server.stop(signal.SIGQUIT)
    try:
        replies = [_try(postfix, word) for postfix in (hosts.first, hosts.second)]
    finally:
        hosts.server.start()
    assert all(reply.temporary for reply in replies)
    assert not any(sink.messages for sink in hosts.town.sinks)

    send_until_taken(hosts.second.inside_port, _ENVELOPE, _mail(word), timeout=60)

    assert list(_judge(hosts, [word]).values()) == [Counter(_ENVELOPE.recipients)]
    assert all(len(site.service_pids("milter")) == 1 for site in hosts.sites)
    assert not any("Traceback" in site.log() for site in hosts.sites)
