"""
One fault strikes many messages, each at a place of its own; their clients retry as mail servers do.

A run lines the messages up, strikes, lets them go, ends the fault once every first try has its answer, and waits
until all are taken.
"""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from lab.client import Envelope, send_until_taken
from lab.fault_site import FaultSite, Mail, mail
from lab.faults import BUILDING, PLACES, Code, Row
from lab.lineup import Place, wait_for_all
from lab.trap import Action, Answer, Cut
from lab.wait import until

_LONG = 1_300_000  # octets: more than is kept in memory, so that the spool is used
_SHORT = 2000
_POOLED = 2  # large messages that are encrypted at one time
_FIRST_TRIES = 150.0  # seconds, at most: gpg is given up after 60
_TAKEN = 150.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the matrix and the message that stands for it."""

    point: str
    code: Code
    mail: Mail

    def __str__(self) -> str:
        return f"{self.mail.mix} {self.point}"


class Tries:
    """Sends messages, each from a thread of its own, and counts tries."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._pool = ThreadPoolExecutor(max(count, 1))
        self._futures: dict[str, Future[int]] = {}
        self._tried: dict[str, threading.Event] = {}

    def begin(self, one: Mail) -> None:
        """Send a message until it is taken."""
        tried = self._tried[one.name] = threading.Event()
        self._futures[one.name] = self._pool.submit(
            send_until_taken,
            self._port,
            Envelope(one.sender, one.recipients),
            one.data,
            timeout=_TAKEN,
            pause=0.5,
            after_try=tried.set,
        )

    def wait_first(self) -> None:
        """Wait until the first try of every message has ended."""
        wait_for_all({name: tried.is_set for name, tried in self._tried.items()}, _FIRST_TRIES)

    def results(self) -> dict[str, int]:
        """Wait until all are taken; give the number of tries of each, by the message's name."""
        done = {name: future.result(_TAKEN) for name, future in self._futures.items()}
        self._pool.shutdown()
        return done


def cells_of(row: Row) -> list[Cell]:
    """Write a message for every cell of a row that can occur."""
    size = _LONG if row.fault.startswith("spool") else _SHORT
    return [Cell(point, code, mail(mix, size=size)) for point, mix, code in row.codes() if code != "-"]


def strike_row(site: FaultSite, row: Row) -> list[Cell]:
    """Let a fault meet all cells of its row at once, and hold what came of it against the row."""
    site.wait_until_sound()
    site.town.clear()
    site.lineup.clear()
    cells = cells_of(row)
    tries = Tries(site.town.postfix.inside_port, len(cells))
    if row.fault.startswith("listener"):
        _let_listener_fail(site, row.fault, cells, tries)
    else:
        _line_up(site, cells, tries, killed=row.fault == "milter killed")
        with _fault(site, row.fault):
            site.lineup.go()
            if row.fault not in {"gpg hangs", "gpg dies"}:
                site.gate.open()
            tries.wait_first()
    counted = tries.results()
    site.judge([cell.mail for cell in cells])
    _compare(site, cells, counted)
    return cells


def _line_up(site: FaultSite, cells: Sequence[Cell], tries: Tries, *, killed: bool) -> None:
    """
    Bring all messages to their places; those that wait for gpg last, since nobody gets past them.

    `killed`: what the milter was about to say is not said, though the proxy holds it already.
    """
    standing = {}
    for cell in (cell for cell in cells if cell.point != BUILDING):
        place = PLACES[cell.mail.mix][cell.point]
        action = Cut() if killed and place.step.startswith("<") else None
        standing[str(cell)] = site.lineup.stop(cell.mail.name, place, action)
    for cell in cells:
        if cell.point != BUILDING:
            tries.begin(cell.mail)
    wait_for_all(standing)
    building = [cell.mail for cell in cells if cell.point == BUILDING]
    site.gate.shut()
    for one in building:
        tries.begin(one)
    large = any(len(one.data) > _SHORT * 2 for one in building)
    wanted = min(len(building), _POOLED) if large else len(building)
    until(lambda: site.gate.waiting >= wanted, 25, lambda: f"{wanted} runs of gpg stand, not {site.gate.waiting}")


@contextmanager
def _fault(site: FaultSite, fault: str) -> Iterator[None]:
    """Strike, and end the fault again."""
    strike, lift = faults_of(site)[fault]
    strike()
    try:
        yield
    finally:
        lift()


def faults_of(site: FaultSite) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """Give what begins and what ends each fault."""
    gatepost, disk = site.town.site, site.disk
    vault, spool = gatepost.folder / "vault", gatepost.folder / "spool"
    lock = sqlite3.connect(site.database, isolation_level=None, check_same_thread=False)

    def mend() -> None:
        disk.mend()
        # The leases of tries that could not write any more run out by themselves, or, sooner, with the milter.
        gatepost.kill_service("milter")

    def unlock() -> None:
        lock.close()
        mend()

    def nothing() -> None:
        pass

    return {
        "milter killed": (lambda: gatepost.kill_service("milter"), nothing),
        "milter stopped (SIGTERM)": (lambda: gatepost.kill_service("milter", signal.SIGTERM), nothing),
        "key worker killed": (lambda: gatepost.kill_service("keys"), nothing),
        "key worker hung": (
            lambda: gatepost.kill_service("keys", signal.SIGSTOP),
            lambda: gatepost.kill_service("keys", signal.SIGCONT),
        ),
        "policy service killed": (lambda: gatepost.kill_service("policy"), nothing),
        "policy service hung": (
            lambda: gatepost.kill_service("policy", signal.SIGSTOP),
            lambda: gatepost.kill_service("policy", signal.SIGCONT),
        ),
        "resolver silent": (lambda: _silence(site), site.resolver.speak),
        "database gone": (lambda: disk.take_away(site.database), mend),
        "database locked": (lambda: _take_lock(lock), unlock),
        "database read-only": (lambda: disk.make_read_only(site.database), mend),
        "database full": (lambda: disk.fill(site.database), mend),
        "vault gone": (lambda: disk.take_away(vault), disk.mend),
        "vault read-only": (lambda: disk.make_read_only(vault), disk.mend),
        "vault full": (lambda: disk.fill(vault), disk.mend),
        "spool full": (lambda: disk.fill(spool), disk.mend),
        "gpg hangs": (nothing, site.gate.open),
        "gpg dies": (site.gate.let_down, nothing),
    }


def _silence(site: FaultSite) -> None:
    """Let the resolver fall silent, and nobody know what it said before."""
    site.resolver.fall_silent()
    site.forget_look_ups()


def _take_lock(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 20000")
    connection.execute("BEGIN IMMEDIATE")


def _let_listener_fail(site: FaultSite, fault: str, cells: Sequence[Cell], tries: Tries) -> None:
    """Send messages each of which the listener fails once, at the copy or the notice that the cell is about."""
    struck = {}
    for cell in cells:
        place, action = _listener_fault(fault, cell.point)
        if action is None:
            struck[str(cell)] = site.lineup.hang(cell.mail.name, place)
        else:
            struck[str(cell)] = site.lineup.act(cell.mail.name, place, action)
        tries.begin(cell.mail)
    wait_for_all(struck)
    tries.wait_first()
    site.lineup.over()


def _listener_fault(fault: str, point: str) -> tuple[Place, Action]:
    """Give where the listener fails a message, and how; None: it hangs."""
    first = point == "between journal and submission"
    nth = 2 if point == "between copies" else 1
    name = "notice" if point == "before the edits" else "smtp"
    early, late = Place(f"{name}>RCPT", nth), Place(f"{name}>DOT", nth)
    where = early if first else late
    match fault.removeprefix("listener "):
        case "answers 4xx":
            return where, Answer(b"451 4.3.0 later")
        case "answers 5xx":
            return where, Answer(b"554 5.3.0 never")
        case "hangs":
            return where, None
        case "drops before the final dot":
            return late, Cut()
        case "drops after the final dot":
            return Place(f"{name}<DOT", nth), Cut()
    raise ValueError(f"not a fault of the listener: {fault}")


def _compare(site: FaultSite, cells: Sequence[Cell], tries: dict[str, int]) -> None:
    """Hold the number of tries, and what is recorded, against the codes; raises AssertionError."""
    wrong = [
        f"{cell}: {cell.code}, but taken after {tries[cell.mail.name]} tries"
        for cell in cells
        if (cell.code in {"451", "2x"} and tries[cell.mail.name] == 1)
        or (cell.code == "250" and tries[cell.mail.name] > 1)
    ]
    if wrong:
        raise AssertionError("; ".join(wrong))
    again = {cell.mail.name: str(cell) for cell in cells if cell.code == "2x"}

    def unsaid() -> list[str]:
        said = {name for name, _ in site.possible_duplicates()}
        return [cell for name, cell in again.items() if name not in said]

    until(lambda: not unsaid(), 20, lambda: f"a possible duplicate is recorded for: {', '.join(unsaid())}")
