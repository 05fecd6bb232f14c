"""
Stand-ins for the gateway's ports, in memory; every one notes what happened in one shared list.

The cipher is no cipher: it wraps the plaintext visibly, so that tests can tell what was encrypted. It lives here
and not in the product, where a no-op cipher would be a loaded gun.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from gatepost.crypto.certificate import Certificate
from gatepost.crypto.openpgp import Opened, Verification
from gatepost.crypto.own_signature import Signature
from gatepost.decision.plan import Judgement
from gatepost.directory.event import Event, Record
from gatepost.directory.exchange import AddresseeRow, ExchangeRow
from gatepost.directory.key import Key, Trust
from gatepost.directory.partner import Partner, patterns
from gatepost.directory.thread import Sent, ThreadRow
from gatepost.gateway.aliases import Destination
from gatepost.gateway.budget import Budget
from gatepost.gateway.entry import Entry, Lease
from gatepost.gateway.notices import Notice
from gatepost.gateway.submission import Submission
from gatepost.message.address import Address
from gatepost.message.body import Body, MemoryBody
from gatepost.message.transaction import Transaction
from gatepost.transport.capability import Capability


def opened(text: bytes, status: str, fingerprint: str = "") -> Opened:
    """Give a message as the key worker opens it."""
    return Opened(MemoryBody(text), sha256(text).digest(), Verification(status, fingerprint))


@dataclass
class World:
    """What the directory knows, what fails, and what has happened, in order."""

    partners: dict[str, Partner] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    threads: set[bytes] = field(default_factory=set)
    aliases: dict[str, tuple[Destination, ...]] = field(default_factory=dict)
    capabilities: dict[str, Capability] = field(default_factory=dict)  # by hop; else as the partner rows say
    detours: dict[str, str] = field(default_factory=dict)  # by the recipient's domain
    asked: list[str] = field(default_factory=list)  # next hops
    opens: dict[str, Opened] = field(default_factory=dict)  # by recipient
    own_opens: dict[str, Opened] = field(default_factory=dict)  # the same, with the recipient's own key alone
    faults: dict[str, Exception] = field(default_factory=dict)  # by the name of what happens
    happened: list[str] = field(default_factory=list)
    submitted: list[Submission] = field(default_factory=list)
    held: list[Judgement] = field(default_factory=list)
    held_names: set[UUID] = field(default_factory=set)
    rows: list[ThreadRow] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    told: set[bytes] = field(default_factory=set)
    announced: dict[str, bytes] = field(default_factory=dict)  # by fingerprint
    signs: bool = True
    entities: list[bytes] = field(default_factory=list)  # that were to be signed
    authors: dict[bytes, bytes] = field(default_factory=dict)  # by the digest of an exchange
    addressees: set[AddresseeRow] = field(default_factory=set)

    def happens(self, what: str) -> None:
        """Note what happens, or fail as was asked for."""
        if what in self.faults:
            raise self.faults[what]
        self.happened.append(what)

    def partner(self, pattern: str, **columns: object) -> None:
        """Add a partner row."""
        self.partners[pattern] = Partner(pattern, **columns)  # type: ignore[arg-type]

    def key(self, owner: str, *, trust: Trust = Trust.ADMIN, refusal: str = "", own: bool = False) -> None:
        """Add a key."""
        self.keys[owner] = Key(f"FPR-{owner}", "openpgp", owner, f"{owner}|{refusal}".encode(), trust, own)

    # ports: Partners, Threads

    def find(self, address: Address) -> Partner | None:
        self.happens("partner")
        return next((self.partners[one] for one in patterns(address) if one in self.partners), None)

    def find_nexthop(self, nexthop: str) -> tuple[Partner, ...]:
        return tuple(one for one in self.partners.values() if one.nexthop == nexthop)

    def known(self, message_ids: Iterable[bytes], *, sent: Sent | None = None) -> bool:  # noqa: ARG002 - the port has it
        self.happens("thread")
        return not self.threads.isdisjoint(message_ids)

    def resolve(self, recipient: Address) -> tuple[Destination, ...]:
        return self.aliases.get(recipient.text, (Destination(recipient),))

    # ports: Capabilities, Routes

    def begin(self, hop: str) -> "World.Told":
        self.asked.append(hop)
        rows = [row for row in self.partners.values() if row.tls and hop in {row.nexthop, row.pattern}]
        by_rows = Capability(hop, bool(rows), by="partner" if rows else "", steps=("told by the partner rows",))
        return World.Told(self.capabilities.get(hop, by_rows))

    @dataclass(frozen=True)
    class Told:
        """A look-up that has ended."""

        answer: Capability

        def wait(self) -> Capability:
            return self.answer

    def route(self, question: tuple[Address, Address]) -> str:
        self.happens("route")
        return self.detours.get(question[1].domain, "")

    def unknown(self, hop: str) -> None:
        """Let nobody know whether mail can go there by TLS."""
        self.capabilities[hop] = Capability(hop, assured=False, unknown=True, steps=("the resolver is silent",))

    def assured(self, hop: str, by: str = "dane") -> None:
        """Let mail go there by assured TLS."""
        self.capabilities[hop] = Capability(hop, assured=True, by=by, policy="dane-only", steps=("TLSA records",))

    # ports: Encryption, Opener, Signatory, Submitter, Records, Holder

    def encrypt(self, pieces: Iterable[bytes], certificates: Sequence[bytes], on_wait: Callable[[], None]) -> Body:
        on_wait()
        self.happens("encrypt")
        names = b",".join(certificate.partition(b"|")[0] for certificate in certificates)
        return MemoryBody(b"ENCRYPTED TO " + names + b"\n" + b"".join(pieces).hex().encode() + b"\n")

    def open(
        self,
        ciphertext: Body,
        recipient: Address,
        sender: str,
        *,
        seconds: float,
        on_wait: Callable[[], object],
        domain_keys: bool = True,
    ) -> Opened | None:
        assert ciphertext.size
        assert seconds <= 60  # what the tests' budgets leave
        on_wait()
        self.happens(f"open for {recipient.text} from {sender}")
        return self.opens.get(recipient.text) if domain_keys else self.own_opens.get(recipient.text)

    def sign(
        self,
        entity: Body,
        kind: str,
        author: Address,
        sender: Address,
        *,
        seconds: float,
        on_wait: Callable[[], object],
    ) -> Signature | None:
        assert seconds <= 60  # what the tests' budgets leave
        on_wait()
        self.happens(f"sign with {kind} for {author.text} from {sender.text}")
        self.entities.append(entity.read())
        return Signature(b"SIGNATURE\n", "fake") if self.signs else None

    def submit(self, submission: Submission, budget: Budget) -> str:
        budget.tick()
        self.happens("submit")
        self.submitted.append(submission)
        return f"Q{len(self.submitted)}"

    def commit(self, rows: Sequence[ThreadRow]) -> None:
        self.happens("commit")
        self.rows.extend(rows)

    def write(self, rows: Sequence[ThreadRow], done: Callable[[Exception | None], None]) -> None:
        self.commit(rows)
        done(None)

    def post(self, record: Record) -> None:
        self.happens("post")
        self.events.extend(record.events())

    def flush(self) -> None:
        self.happens("flush")

    def close(self) -> None:
        self.happens("close")

    def hold(self, transaction: Transaction, judgements: Sequence[Judgement], name: UUID) -> None:
        assert transaction.recipients
        self.happens("hold")
        if name not in self.held_names:
            self.held_names.add(name)
            self.held.extend(judgements)

    def notice(self, transaction: Transaction, judgements: Sequence[Judgement]) -> Notice:
        assert judgements
        return Notice(transaction.sender, (), MemoryBody(b"held\r\n"), b"held")

    # the port NoticeLog

    def claim(self, digest: bytes, recipient: str, at: datetime, per_hour: int) -> bool:  # noqa: ARG002 - the port has it
        self.happens("claim")
        new = digest not in self.told
        self.told.add(digest)
        return new

    def forget(self, digest: bytes) -> None:
        self.happens("forget")
        self.told.discard(digest)


class FakeRecord:
    """A record of these events; counts how often it was told, and fails in telling if asked to."""

    def __init__(self, *events: Event, fault: Exception | None = None) -> None:
        self._events = events
        self._fault = fault
        self.told = 0

    def events(self) -> Sequence[Event]:
        return self._events

    def tell(self) -> None:
        self.told += 1
        if self._fault is not None:
            raise self._fault


class FakeKeys:
    """The port `Keys` over a World."""

    def __init__(self, world: World) -> None:
        self._world = world

    def find(self, address: Address, kind: str) -> tuple[Key, ...]:
        self._world.happens("key")
        owners = (address.text, address.domain)
        found = (self._world.keys[one] for one in owners if one in self._world.keys)
        return tuple(one for one in found if one.kind == kind)

    def note(self, fingerprint: str, capabilities: bytes) -> None:
        self._world.happens("note")
        self._world.announced[fingerprint] = capabilities

    def any_own(self) -> bool:
        return any(one.own for one in self._world.keys.values())


class FakeExchanges:
    """The port `ExchangeLog` over a World, by the same rules as the tables."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add(self, exchanges: Sequence[ExchangeRow], addressees: Sequence[AddresseeRow]) -> None:
        self._world.happens("exchange")
        for one in exchanges:
            self._world.authors.setdefault(one.digest, one.author)
        self._world.addressees.update(addressees)

    def is_anothers(self, exchanges: Sequence[ExchangeRow]) -> bool:
        return any(self._world.authors.get(one.digest, one.author) != one.author for one in exchanges)

    def addressees(self, exchanges: Sequence[ExchangeRow]) -> frozenset[bytes] | None:
        if not any(one.digest in self._world.authors for one in exchanges):
            return None
        content = (exchanges[0].digest, exchanges[0].author)
        rows = self._world.addressees
        return frozenset(one.recipient for one in rows if (one.digest, one.author) == content)


class FakeCertificates:
    """Reads the fake certificates of a World: `owner|refusal`."""

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        owner, _, refusal = data.decode().partition("|")
        return (Certificate(f"FPR-{owner}", (), (owner,), data, datetime.now(UTC), None, refusal),)

    def encrypt(self, plaintext: bytes, certificates: Sequence[bytes]) -> bytes:
        raise NotImplementedError((plaintext, certificates))


class FakeJournal:
    """The port `JournalStore` in memory, by the same rules as the table."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[bytes, tuple[Entry, Lease, datetime]] = {}

    def find(self, key: bytes) -> Entry | None:
        self._world.happens("journal find")
        return self.rows[key][0] if key in self.rows else None

    def add(self, entry: Entry, lease: Lease, at: datetime, *, over_settled: bool) -> bool:
        self._world.happens("journal add")
        if entry.key in self.rows and not (over_settled and self.rows[entry.key][0].settled):
            return False
        self.rows[entry.key] = (entry, lease, at)
        return True

    def claim(self, key: bytes, lease: Lease, at: datetime) -> bool:
        self._world.happens("journal claim")
        if key not in self.rows or self.rows[key][1].until > at:
            return False
        self.rows[key] = (self.rows[key][0], lease, self.rows[key][2])
        return True

    def save(self, entry: Entry, lease: Lease, at: datetime) -> bool:
        self._world.happens("journal save")
        if entry.key not in self.rows or self.rows[entry.key][1].claim != lease.claim:
            return False
        self.rows[entry.key] = (entry, lease, at)
        return True

    def free(self, holder: str, at: datetime) -> None:
        for key, (entry, lease, written) in self.rows.items():
            if lease.holder == holder and lease.until > at:
                self.rows[key] = (entry, replace(lease, until=at, claim=UUID(int=0)), written)

    def purge(self, settled_before: datetime, others_before: datetime) -> int:
        over = [
            key
            for key, (entry, _, at) in self.rows.items()
            if at < others_before or (entry.settled and at < settled_before)
        ]
        for key in over:
            del self.rows[key]
        return len(over)
