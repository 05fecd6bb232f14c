"""
A town in which anything can be made to fail, and the judge of what arrived.

Proxies stand before the milter and both re-injection listeners, a gate before gpg, and under the services a disk
that fails on command; so does the resolver. Every message has a sender of its own, by which proxies and receivers
know it, and a canary in its body. The judge reads what the receivers got, byte for byte; of our own records it
asks only where a copy may have gone twice, and what is held.
"""

import json
import re
import socket
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gatepost.mta.probe import serves
from lab.disk import Disk
from lab.fault_resolver import FaultResolver
from lab.faults import Mix
from lab.gpg_gate import GpgGate
from lab.letter import canary, letter
from lab.lineup import Lineup
from lab.place import free_port
from lab.proxy import ListenerProxy, MilterProxy
from lab.sink import Received
from lab.site import Setting
from lab.town import Town, build
from lab.trap import Watch
from lab.wait import until

RECIPIENTS: dict[Mix, tuple[str, ...]] = {
    "one": ("ann@pgp.test",),
    "two": ("doc@hosp.test", "ann@pgp.test", "eve@pgp.test"),
    "three": ("carol@tls.test", "ann@pgp.test", "pia@pin.test", "zoe@hold.test"),
}
HELD = "zoe@hold.test"
_SEEN = "doc@hosp.test, ann@pgp.test, carol@tls.test, pia@pin.test"  # eve is hidden: her copy is one of its own
_CLEAR = frozenset({"doc@hosp.test"})
_BY_TLS = frozenset({"carol@tls.test", "pia@pin.test"})
_RULE = """\
[[rule]]
name = "only by TLS, which DNS does not assure"
when = { direction = "out", recipient = ["*@hold.test"] }
demand = "tls"
ladder = ["tls"]
"""
_CANARY = re.compile(rb"CANARY-[0-9a-f]+-\d+-END")
_ARMOR = b"-----BEGIN PGP MESSAGE-----"
_FILLER = b"filler to make a body of more than one line\r\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message; `name` is its sender's local part."""

    name: str
    mix: Mix
    canary: str
    data: bytes = field(repr=False)

    @property
    def sender(self) -> str:
        """The envelope's sender."""
        return f"{self.name}@hosp.test"

    @property
    def recipients(self) -> tuple[str, ...]:
        """The envelope's recipients."""
        return RECIPIENTS[self.mix]


def mail(mix: Mix, *, size: int = 2000) -> Mail:
    """Write a message of a mix, with a body of about so many octets."""
    word = canary()
    name = "s" + word.removeprefix("CANARY-").removesuffix("-END").lower()
    body = word.encode() + b"\r\n" + _FILLER * (size // len(_FILLER))
    message_id = f"<{name}@hosp.test>"
    return Mail(name, mix, word, letter(body, sender=f"{name}@hosp.test", to=_SEEN, message_id=message_id))


@dataclass(frozen=True, slots=True)
class FaultSite:
    """The town and what makes it fail."""

    town: Town
    lineup: Lineup
    gate: GpgGate
    disk: Disk
    resolver: FaultResolver

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return Path(str(self.town.site.setting("database.url")).removeprefix("sqlite:///"))

    def wait_until_sound(self) -> None:
        """Wait until the milter serves: a fault may have ended with its end, and nobody waited for it since."""
        name = str(self.town.site.setting("gateway.socket"))
        until(lambda: serves(name, 1), 60, "the milter is back")

    def forget_look_ups(self) -> None:
        """Let the policy service begin anew, and know nothing of what DNS said before."""
        with closing(sqlite3.connect(self.database, timeout=20)) as connection, connection:
            connection.execute("DELETE FROM discovery")
        before = self.town.site.service_pids("policy")
        self.town.site.kill_service("policy")
        until(lambda: self._policy_answers(before), 60, "the policy service is back")

    def _policy_answers(self, before: Collection[int]) -> bool:
        path = str(self.town.site.setting("policy.socket")).removeprefix("unix:")
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(path) == 0 and self.town.site.service_pids("policy") != before

    def judge(self, mails: Collection[Mail]) -> None:
        """Hold the promise against what arrived; raises AssertionError saying what is wrong with which message."""
        self.town.postfix.wait_queue_empty(90)
        got = self._received({one.name: one for one in mails})
        for one in mails:
            missing = set(one.recipients) - {HELD} - set(got[one.name])
            if missing:
                raise AssertionError(f"{one.name} ({one.mix}) was lost for {sorted(missing)}")
        twice = {(name, address) for name, times in got.items() for address, count in times.items() if count > 1}
        if twice:
            until(
                lambda: twice <= self.possible_duplicates() | self._journal(),
                20,
                lambda: f"what came twice is recorded: {twice - self.possible_duplicates()}",
            )
        self._judge_held(mails)

    def _received(self, mails: dict[str, Mail]) -> dict[str, Counter[str]]:
        """Count what each recipient got of each message, looking at every octet that any receiver got."""
        got = {name: Counter[str]() for name in mails}
        words = {one.canary.encode(): one.name for one in mails.values()}
        received = [one for sink in self.town.sinks for one in sink.messages]
        encrypted = [one for one in received if _ARMOR in one.data]
        plain = dict(
            zip(map(id, encrypted), self.town.gpg.decrypt_all([one.data for one in encrypted]), strict=True)
        )
        for one in received:
            in_clear = _named(one.data, words)
            if in_clear and not set(one.addresses) <= _may_see(one):
                raise AssertionError(f"{in_clear} in clear at {one.addresses}")
            found = in_clear or _named(plain.get(id(one), b""), words)
            name = one.sender.partition("@")[0]
            if name in mails and found != {name}:
                raise AssertionError(f"a copy of {name} at {one.addresses} does not hold its body")
            if name not in mails and found:
                raise AssertionError(f"{found} in a message of {one.sender or 'Gatepost'}")
            if name in mails:
                got[name].update(one.addresses)
        return got

    def possible_duplicates(self) -> set[tuple[str, str]]:
        """Give message and recipient of everything that may have gone twice, as the events tell."""
        ask = "SELECT sender, recipient FROM event WHERE detail LIKE '%possible-duplicate\": true%'"
        return {(str(sender).partition("@")[0], str(recipient)) for sender, recipient in self._ask(ask)}

    def _journal(self) -> set[tuple[str, str]]:
        """Give the same as the journal tells: a crash may lose the last second of events, never a journal row."""
        names = dict(re.findall(r" (\w+): message-id=<([^@>]+)@", self.town.postfix.log()))
        found = set()
        for queue_id, plan, progress in self._ask("SELECT queue_id, plan, progress FROM journal"):
            recipients = [re.search(r"[\w.]+@[\w.]+", json.dumps(one)) for one in json.loads(plan)["recipients"]]
            for recipient, (_, _, repeated) in zip(recipients, json.loads(progress), strict=True):
                if repeated and recipient is not None:
                    found.add((names.get(queue_id, ""), recipient[0]))
        return found

    def _ask(self, statement: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(statement).fetchall()

    def _judge_held(self, mails: Iterable[Mail]) -> None:
        """Whoever is to be held is held once."""
        held = Counter(one["sender"] for one in self.town.site.json("quarantine", "list")["held"])
        for one in mails:
            if held[one.sender] != (HELD in one.recipients):
                raise AssertionError(f"{one.name} ({one.mix}) is held {held[one.sender]} times")


def _named(data: bytes, words: dict[bytes, str]) -> set[str]:
    """Name the messages whose canaries stand in some bytes."""
    return {words[word] for word in _CANARY.findall(data) if word in words}


def _may_see(received: Received) -> frozenset[str]:
    return _CLEAR | (_BY_TLS if received.tls is not None else frozenset())


@contextmanager
def fault_site(folder: Path, watch: Watch | None = None, *, engine: str = "gnupg") -> Iterator[FaultSite]:
    """Build the town, start everything, and stop it at the end; `watch` takes the line-up's place."""
    with ExitStack() as stack:
        lineup = Lineup()
        gate = stack.enter_context(GpgGate(folder))
        resolver = FaultResolver(stack)
        settings: dict[str, Setting] = {
            "openpgp.engine": engine,
            "openpgp.gpg": str(gate.program),
            "gateway.max_seconds": 30,
            "dns.resolvers": [resolver.name],
        }
        town = build(folder, stack, settings=settings)
        (town.site.folder / "rules" / "50-hold.toml").write_text(_RULE)
        town.postfix.route("hold.test", town.outside.port)
        town.site.gatepost("partner", "add", "hold.test", "--nexthop", "hold.test")
        disk = Disk(folder)
        town.site.environment = disk.environment
        interpose(town, stack, watch or lineup)
        stack.enter_context(town.postfix)
        stack.callback(town.site.stop)
        stack.callback(disk.mend)
        town.site.start()
        yield FaultSite(town, lineup, gate, disk, resolver)


def interpose(town: Town, stack: ExitStack, watch: Watch) -> list[ListenerProxy]:
    """Put proxies before the milter and both re-injection listeners of a town that is not started yet."""
    site = town.site
    known = Path(str(site.setting("gateway.socket")).removeprefix("unix:"))
    own = known.with_name("own.sock")
    site.set("gateway.socket", f"unix:{own}")
    stack.enter_context(MilterProxy(watch, known, own))
    secrets = site.folder / "secrets"
    proxies = []
    for setting in ("gateway.reinject", "gateway.reinject_tls"):
        listener, port = int(str(site.setting(setting)).rpartition(":")[2]), free_port()
        site.set(setting, f"127.0.0.1:{port}")
        pems = {"listener_pem": secrets / "listener.pem", "client_pem": secrets / "client.pem"}
        proxies.append(stack.enter_context(ListenerProxy(watch, port, listener, **pems)))
    return proxies
