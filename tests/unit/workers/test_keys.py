"""The key worker and its client, over a real socket; cryptography is stood in for."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO
from uuid import uuid4

import pytest
from lab.wait import until

from gatepost.crypto import seal
from gatepost.crypto.halves import Halves, Unsealer
from gatepost.crypto.openpgp import Decrypted, Verification, private_context
from gatepost.crypto.own_signature import Signature
from gatepost.crypto.proof import Prover
from gatepost.directory.key import Key, Trust, owners
from gatepost.directory.stamp import NOTHING, Stamp
from gatepost.errors import CryptoError, StorageError, WorkerError
from gatepost.message.address import Address, parse
from gatepost.message.body import MemoryBody, Spool
from gatepost.vault.held import key_context
from gatepost.workers import frames, key_client
from gatepost.workers.key_client import KeyClient
from gatepost.workers.keys import Callers, KeyHolder, KeyServer

KEYS_PRIVATE, KEYS_PUBLIC = seal.new_pair()
VAULT_PRIVATE, VAULT_PUBLIC = seal.new_pair()
ANNA = parse(b"<anna@hosp.test>")


class FakeDecryptor:
    """Opens `KEY:TEXT` with the private key `KEY`; notes the signers that it was given."""

    def __init__(self, first: bytes = b"") -> None:
        """Take the octets that a message must begin with."""
        self.first = first
        self.signers: list[bytes] = []
        self.delay = 0.0
        self.away: set[bytes] = set()

    def decrypt(
        self, source: IO[bytes], target: IO[bytes], private: bytes, signers: Sequence[bytes], *, most: int
    ) -> Decrypted:
        time.sleep(self.delay)
        self.signers = list(signers)
        source.seek(0)
        name, _, text = source.read().partition(b":")
        if private in self.away:
            raise WorkerError("its token is away")
        if name != self.first + private or len(text) > most:
            raise CryptoError("no")
        target.write(text)
        verification = Verification("pass", "AB") if signers else Verification("none")
        return Decrypted(sha256(text).digest(), verification, intact=text != b"changed")


class FakeKeys:
    """A key table in memory: own keys by owner, partners' certificates by owner."""

    def __init__(self) -> None:
        self.own: dict[str, bytes] = {"anna@hosp.test": b"annas", "hosp.test": b"domain"}
        self.partners: dict[str, bytes] = {"bob@other.test": b"bobs certificate"}
        self.broken = False
        self.kinds: set[str] = set()

    def sealed(self, address: Address, kind: str) -> tuple[tuple[Key, bytes], ...]:
        if self.broken:
            raise StorageError("the database does not answer")
        self.kinds.add(kind)
        return tuple(
            (
                replace(_key(owner, kind), own=True),
                seal.wrap(KEYS_PUBLIC, self.own[owner], private_context(_key(owner, kind).fingerprint)),
            )
            for owner in owners(address)
            if owner in self.own
        )

    def find(self, address: Address, kind: str) -> tuple[Key, ...]:
        return tuple(
            _key(owner, kind, self.partners[owner]) for owner in owners(address) if owner in self.partners
        )


def _key(owner: str, kind: str, certificate: bytes = b"") -> Key:
    return Key(owner.encode().hex().upper(), kind, owner, certificate, Trust.ADMIN)


class FakeSigner:
    """Signs with the private half itself; notes who signed."""

    def __init__(self) -> None:
        self.refuses: set[bytes] = set()

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        if private in self.refuses:
            raise CryptoError("expired")
        source.seek(0)
        return Signature(b"signed " + source.read() + b" with " + private, "pgp-sha512")


class Worker:
    """A key worker in a thread."""

    def __init__(self, path: Path, callers: Callers | None = None) -> None:
        self.halves = Halves(KEYS_PRIVATE)
        self.keys = FakeKeys()
        self.decryptor = FakeDecryptor()
        self.smime = FakeDecryptor(b"0")
        self.signer = FakeSigner()
        holder = KeyHolder(
            own=self.keys,
            partners=self.keys,
            openpgp=self.decryptor,
            smime=self.smime,
            signers={"openpgp": self.signer, "smime": self.signer},
            keys=Unsealer(lambda: self.halves),
            vault=Unsealer(lambda: Halves(VAULT_PRIVATE)),
            prover=Prover(KEYS_PRIVATE),
        )
        self.server = KeyServer(path, holder, callers or Callers())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gk-", dir="/tmp") as folder:
        yield Path(folder, "keys.sock")


@pytest.fixture
def worker(path: Path) -> Iterator[Worker]:
    worker = Worker(path)
    yield worker
    worker.stop()


@pytest.fixture
def client(worker: Worker, path: Path) -> Iterator[KeyClient]:
    del worker
    client = KeyClient(path, seconds=5)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("recipient", "ciphertext", "plaintext"),
    [
        ("anna@hosp.test", b"annas:hello", b"hello"),
        ("anna@hosp.test", b"domain:hello", b"hello"),
        ("Anna+tag@hosp.test", b"annas:hello", b"hello"),
        ("carl@hosp.test", b"domain:hello", b"hello"),
        ("carl@hosp.test", b"annas:hello", None),
        ("anna@elsewhere.test", b"annas:hello", None),
        ("anna@sub.hosp.test", b"domain:hello", None),
        ("anna@hosp.test", b"rubbish", None),
        ("anna@hosp.test", b"", None),
    ],
)
def test_a_key_opens_for_its_own_address_or_domain_only(
    client: KeyClient, recipient: str, ciphertext: bytes, plaintext: bytes | None
) -> None:
    """A recipient gets what the keys of this recipient or its domain open, and nothing of anyone else's."""
    opened = client.open(MemoryBody(ciphertext), parse(recipient.encode()), "bob@other.test")

    assert (opened.plaintext.read() if opened else None) == plaintext


@pytest.mark.parametrize(("ciphertext", "opens"), [(b"annas:hello", True), (b"domain:hello", False)])
def test_without_the_domains_keys(client: KeyClient, ciphertext: bytes, opens: bool) -> None:
    """Asked for a recipient's own keys alone, the worker uses no key of the domain."""
    found = client.open(MemoryBody(ciphertext), ANNA, "", domain_keys=False)

    assert (found is not None) is opens


@pytest.mark.parametrize(
    ("recipient", "ciphertext", "plaintext"),
    [
        ("anna@hosp.test", b"0annas:hello", b"hello"),
        ("carl@hosp.test", b"0domain:hello", b"hello"),
        ("carl@hosp.test", b"0annas:hello", None),
        ("anna@elsewhere.test", b"0annas:hello", None),
    ],
)
def test_smime_opens_under_the_same_rules(
    client: KeyClient, worker: Worker, recipient: str, ciphertext: bytes, plaintext: bytes | None
) -> None:
    """What begins as DER is opened as S/MIME, with the recipient's or its domain's own keys of that kind alone."""
    opened = client.open(MemoryBody(ciphertext), parse(recipient.encode()), "bob@other.test")

    assert (opened.plaintext.read() if opened else None) == plaintext
    assert worker.keys.kinds == {"smime"}
    if opened:
        assert opened.kind == "smime"


@pytest.mark.parametrize(
    ("ciphertext", "intact"), [(b"0annas:changed", False), (b"0annas:x", True), (b"annas:x", True)]
)
def test_what_is_not_proved_is_said(client: KeyClient, ciphertext: bytes, intact: bool) -> None:
    """Whether anything proves the plaintext comes back with it."""
    opened = client.open(MemoryBody(ciphertext), ANNA, "")

    assert opened is not None
    assert opened.intact is intact
    assert opened.kind == ("smime" if ciphertext.startswith(b"0") else "openpgp")


@pytest.mark.parametrize(
    ("sender", "signers", "status"),
    [
        ("bob@other.test", [b"bobs certificate"], "pass"),
        ("eve@other.test", [], "none"),
        ("", [], "none"),
        ("not an address@", [], "none"),
    ],
)
def test_only_the_authors_keys_verify(
    client: KeyClient, worker: Worker, sender: str, signers: list[bytes], status: str
) -> None:
    """A signature counts only against keys of the author's own address."""
    opened = client.open(MemoryBody(b"annas:x"), ANNA, sender)

    assert opened is not None
    assert worker.decryptor.signers == signers
    assert opened.verification.status == status


def test_large_messages_and_every_octet_pass(client: KeyClient) -> None:
    """Binary content of megabytes comes back byte for byte, several times over one connection."""
    content = bytes(range(256)) * (40 << 10)

    for _ in range(3):
        body = Spool()
        body.write(b"annas:" + content)
        opened = client.open(body, ANNA, "")
        assert opened is not None
        assert opened.plaintext.read() == content


def test_nothing_is_left_on_disk_or_open(client: KeyClient, worker: Worker, path: Path) -> None:
    """A message's files have no name, and neither side keeps them: its thousandth message is as its first."""
    client._directory = path.parent
    client.open(MemoryBody(b"annas:x"), ANNA, "")
    before = _open_files()

    for text in (b"annas:x", b"nobodys:x") * 50:
        client.open(MemoryBody(text), ANNA, "")
    worker.keys.broken = True
    for _ in range(50):
        with pytest.raises(WorkerError):
            client.open(MemoryBody(b"annas:x"), ANNA, "")

    until(lambda: _open_files() < before + 10, 20, lambda: f"{before} files were open, now {_open_files()}")
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_more_than_is_taken_does_not_open(worker: Worker, path: Path) -> None:
    """The client says how large a message may become; the worker keeps to that."""
    del worker
    client = KeyClient(path, seconds=5, most=3)

    assert client.open(MemoryBody(b"annas:xxx"), ANNA, "") is not None
    assert client.open(MemoryBody(b"annas:xxxx"), ANNA, "") is None
    client.close()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_request_with_other_files_is_refused(client: KeyClient, path: Path, count: int) -> None:
    """Opening takes two files; with fewer or more the request fails, and no file stays open."""
    before = _open_files()
    with socket.socket(socket.AF_UNIX) as connection, tempfile.TemporaryFile() as file:
        connection.settimeout(5)
        connection.connect(str(path))
        head: dict[str, object] = {"op": "open", "recipient": ANNA.text, "sender": "", "most": 9}
        frames.send(connection, head, files=[file.fileno()] * count)
        try:
            answer = frames.receive(connection)
        except ConnectionResetError:
            answer = None
        assert answer is None or answer.head["status"] == "failed"

    client.ping()
    until(lambda: _open_files() <= before + 2, 20, "the files are closed")


def test_a_pipe_is_no_message(client: KeyClient, path: Path) -> None:
    """What could be read without end, or never, is not read."""
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        head: dict[str, object] = {"op": "open", "recipient": ANNA.text, "sender": "", "most": 9}
        frames.send(connection, head, files=[read, write])
        answer = frames.receive(connection)
    os.close(read)
    os.close(write)

    assert answer is not None
    assert answer.head["status"] == "failed"
    client.ping()


def test_a_data_key_is_released_for_its_own_copy_only(client: KeyClient) -> None:
    """The wrapped key of one held copy opens under that copy's ID, and under no other."""
    held, data_key = uuid4(), seal.new_key()
    wrapped = seal.wrap(VAULT_PUBLIC, data_key, key_context(held))

    assert client.release(held, wrapped) == data_key
    with pytest.raises(CryptoError):
        client.release(uuid4(), wrapped)


def test_a_rotated_secret_is_read_anew(client: KeyClient, worker: Worker) -> None:
    """What is sealed to a new secret opens as soon as the worker can read that, and what is sealed to the old."""
    new, public = seal.new_pair()
    own = (
        _key("anna@hosp.test", "openpgp"),
        _key("hosp.test", "openpgp"),
    )
    sealed = tuple(
        (key, seal.wrap(half, name, private_context(key.fingerprint)))
        for key, half, name in zip(own, (public, KEYS_PUBLIC), (b"annas", b"domain"), strict=True)
    )
    worker.keys.sealed = lambda _address, _kind: sealed  # type: ignore[method-assign]
    with pytest.raises(WorkerError, match=r"does not open.*rotated, restart"):
        client.open(MemoryBody(b"annas:x"), ANNA, "")

    worker.halves = Halves(new, (KEYS_PRIVATE,))

    for text in (b"annas:x", b"domain:x"):
        assert client.open(MemoryBody(text), ANNA, "") is not None
    assert client.open(MemoryBody(b"nobodys:x"), ANNA, "") is None


def test_a_private_key_sealed_for_another_fingerprint_does_not_open(client: KeyClient, worker: Worker) -> None:
    """A row whose private half was swapped by hand opens nothing; the mail waits."""
    swapped = seal.wrap(KEYS_PUBLIC, b"annas", private_context("OTHER"))
    worker.keys.sealed = lambda _address, kind: ((_key("hosp.test", kind), swapped),)  # type: ignore[method-assign]

    with pytest.raises(WorkerError, match="does not open"):
        client.open(MemoryBody(b"annas:x"), ANNA, "")


def test_no_worker_is_temporary(path: Path) -> None:
    """A worker that is not there raises an error that makes the mail be tried again."""
    with pytest.raises(WorkerError, match="does not answer") as caught:
        KeyClient(path).open(MemoryBody(b"annas:x"), ANNA, "")

    assert caught.value.temporary


def test_a_slow_worker_is_temporary(worker: Worker, path: Path) -> None:
    """A worker that does not answer in time raises, and the next question is answered again."""
    client = KeyClient(path, seconds=0.2)
    worker.decryptor.delay = 0.5

    with pytest.raises(WorkerError, match="within"):
        client.open(MemoryBody(b"annas:x"), ANNA, "")

    worker.decryptor.delay = 0.0
    assert client.open(MemoryBody(b"annas:x"), ANNA, "") is not None
    client.close()


def test_a_message_waits_no_longer_than_its_budget(client: KeyClient, worker: Worker) -> None:
    """The seconds that a message has left bound the wait, whatever the client's own are."""
    worker.decryptor.delay = 15.0
    start = time.monotonic()

    with pytest.raises(WorkerError, match="within"):
        client.open(MemoryBody(b"annas:x"), ANNA, "", seconds=0.2)

    assert time.monotonic() - start < 10


def test_a_wait_gives_signs_of_life(client: KeyClient, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the worker works the mail server hears of it; what that raises ends the wait and mixes nothing up."""
    monkeypatch.setattr(key_client, "_TICK", 0.05)
    worker.decryptor.delay = 0.5
    signs: list[float] = []

    assert client.open(MemoryBody(b"annas:x"), ANNA, "", on_wait=lambda: signs.append(1)) is not None
    assert len(signs) > 2

    def over() -> None:
        raise StorageError("over")

    with pytest.raises(StorageError, match="over"):
        client.open(MemoryBody(b"annas:late"), ANNA, "", on_wait=over)
    worker.decryptor.delay = 0.0
    opened = client.open(MemoryBody(b"annas:x"), ANNA, "")
    assert opened is not None
    assert b"late" not in opened.plaintext.read()


def test_a_broken_database_is_temporary(client: KeyClient, worker: Worker) -> None:
    """Where keys cannot be looked up, nobody concludes that mail cannot be decrypted."""
    worker.keys.broken = True

    with pytest.raises(WorkerError, match="database"):
        client.open(MemoryBody(b"annas:x"), ANNA, "")


def test_a_key_that_is_away_is_temporary(client: KeyClient, worker: Worker) -> None:
    """A key that cannot be asked is not one that does not open; another key that opens the message counts."""
    worker.decryptor.away = {b"annas"}

    opened = client.open(MemoryBody(b"domain:hello"), ANNA, "")
    assert opened is not None
    assert opened.plaintext.read() == b"hello"
    for ciphertext in (b"annas:hello", b"strange:hello"):
        with pytest.raises(WorkerError, match="away"):
            client.open(MemoryBody(ciphertext), ANNA, "")
    assert client.open(MemoryBody(b"strange:hello"), parse(b"<carl@hosp.test>"), "") is None


def test_a_bug_in_the_worker_is_temporary(client: KeyClient, worker: Worker) -> None:
    """An unexpected failure is an error of the worker, without its details, and the worker lives on."""
    worker.keys.sealed = None  # type: ignore[method-assign, assignment]

    with pytest.raises(WorkerError, match="its log tells more"):
        client.open(MemoryBody(b"annas:x"), ANNA, "")
    client.ping()


def test_a_restarted_worker_is_found_again(path: Path) -> None:
    """A connection that died with the worker is replaced without anyone noticing."""
    client = KeyClient(path, seconds=5)
    first = Worker(path)
    client.ping()
    first.stop()
    second = Worker(path)

    client.ping()

    client.close()
    second.stop()


def test_strangers_are_refused() -> None:
    """A user who is not listed may ask for nothing; one listed for opening may not release."""
    stranger, milter = 54321, 54322
    callers = Callers(open=frozenset({milter}))

    assert callers.may(milter, "open")
    assert not callers.may(milter, "release")
    assert not callers.may(stranger, "open")
    assert not callers.may(stranger, "ping")
    assert callers.may(0, "release")
    assert callers.may(os.geteuid(), "release")


def test_a_refused_caller_learns_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a stranger is a refusal, before anything is looked at."""
    monkeypatch.setattr(Callers, "may", lambda *_: False)
    worker = Worker(path)
    client = KeyClient(path, seconds=5)

    with pytest.raises(WorkerError, match="may not ask"):
        client.open(MemoryBody(b"annas:x"), ANNA, "")

    client.close()
    worker.stop()


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GPK1\xff\xff\xff\xff\0\0\0\0",
        b"GPK1\0\0\0\2\xff\xff\xff\xff{}",
        b"GPK1\0\0\0\2\0\0\0\0[]",
        b"GPK1\0\0\0\3\0\0\0\0{x}",
    ],
)
def test_rubbish_ends_the_connection(client: KeyClient, path: Path, octets: bytes) -> None:
    """What is no frame, or announces more than is taken, closes the connection; others are served on."""
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(str(path))
        stranger.sendall(octets)
        assert _closed(stranger)

    client.ping()


def _closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "head", [{}, {"op": "steal"}, {"op": "open"}, {"op": "release", "held": "x"}, {"op": "open", "recipient": "@"}]
)
def test_unknown_requests_are_answered(path: Path, worker: Worker, head: dict[str, object]) -> None:
    """A request that is not understood gets an error, and the connection goes on."""
    del worker
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        for _ in range(2):
            frames.send(connection, head)
            answer = frames.receive(connection)
            assert answer is not None
            assert answer.head["status"] == "failed"


def test_two_workers_do_not_share_a_socket(path: Path, worker: Worker) -> None:
    """A second worker on the same socket does not start; one left behind by a crash is replaced."""
    with pytest.raises(WorkerError, match="already"):
        Worker(path)
    worker.server.socket.close()


def test_threads_share_a_client(client: KeyClient) -> None:
    """Many threads ask at once and each gets its own answer."""
    wrong: list[int] = []

    def ask(number: int) -> None:
        text = b"%d" % number * 1000
        opened = client.open(MemoryBody(b"annas:" + text), ANNA, "")
        if opened is None or opened.plaintext.read() != text:
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_stamps_are_proven_by_the_worker_alone(client: KeyClient) -> None:
    """The client asks which stamps are the worker's; a stamp of another key, or a changed one, is none."""
    now = datetime(2026, 5, 1, tzinfo=UTC)
    draft = Stamp("gw", 1, now, 1, 1, bytes(32), NOTHING)
    good = replace(draft, code=Prover(KEYS_PRIVATE).code(draft.statement()))
    others = [
        replace(draft, code=Prover(VAULT_PRIVATE).code(draft.statement())),
        replace(good, last=2),
        replace(good, code=b""),
        replace(good, code=good.code + b"x"),
    ]

    assert client.prove([good, *others]) == (True, False, False, False, False)
    assert client.prove([]) == ()
    assert client.heads() == {}


def test_a_stranger_may_not_ask_for_proofs() -> None:
    """Who may not have mail opened nor copies released is told nothing about the record either."""
    callers = Callers(open=frozenset({1001}), release=frozenset({1002}))

    assert [callers.may(user, "prove") for user in (1001, 1002, 1003)] == [True, True, False]


def _signed(client: KeyClient, author: str, sender: str, kind: str = "openpgp") -> bytes | None:
    """Have a text signed; gives what the stand-in made of it."""
    done = client.sign(MemoryBody(b"text"), kind, parse(f"<{author}>".encode()), parse(f"<{sender}>".encode()))
    return None if done is None else done.data


@pytest.mark.parametrize(
    ("author", "sender", "private"),
    [
        ("anna@hosp.test", "anna@hosp.test", b"annas"),
        ("Anna@hosp.test", "anna+list@hosp.test", b"annas"),
        ("bert@hosp.test", "bert@hosp.test", b"domain"),
        ("bert@hosp.test", "anna@hosp.test", b"domain"),
        ("anna@hosp.test", "bert@hosp.test", b"domain"),  # not Anna's own: somebody else sends it
        ("anna@hosp.test", "anna@other.test", None),
        ("bob@other.test", "bob@other.test", None),
    ],
)
def test_who_signs_for_whom(client: KeyClient, author: str, sender: str, private: bytes | None) -> None:
    """An address's key signs where From and envelope sender are that address, a domain's for its own domain."""
    assert _signed(client, author, sender) == (private and b"signed text with " + private)


def test_the_next_key_signs(worker: Worker, client: KeyClient) -> None:
    """A key that may not sign any more is passed over; where none is left, nothing is signed."""
    worker.signer.refuses.add(b"annas")
    assert _signed(client, "anna@hosp.test", "anna@hosp.test") == b"signed text with domain"

    worker.signer.refuses.add(b"domain")
    assert _signed(client, "anna@hosp.test", "anna@hosp.test") is None


def test_kinds_of_keys_sign_apart(worker: Worker, client: KeyClient) -> None:
    """The kind that was asked for is looked up; there is no other."""
    assert _signed(client, "anna@hosp.test", "anna@hosp.test", "smime")
    assert worker.keys.kinds == {"smime"}
    with pytest.raises(WorkerError, match="does not understand"):
        _signed(client, "anna@hosp.test", "anna@hosp.test", "x")


def test_who_may_have_mail_signed() -> None:
    """Who may have mail opened may have it signed; who may release may not."""
    milter, admin = 4711, 4712
    callers = Callers(open=frozenset({milter}), release=frozenset({admin}))

    assert callers.may(milter, "sign")
    assert not callers.may(admin, "sign")
    assert not callers.may(4713, "sign")


def test_a_signature_that_is_none(worker: Worker, client: KeyClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer whose digest is no plain word does not come into a header."""
    monkeypatch.setattr(worker.signer, "sign", lambda *_: Signature(b"x", 'a"; b=\r\nX: y'))
    with pytest.raises(WorkerError, match="lacks the signature"):
        _signed(client, "anna@hosp.test", "anna@hosp.test")


def test_a_database_that_does_not_answer_signs_nothing(worker: Worker, client: KeyClient) -> None:
    """Where keys cannot be looked up the message waits; it does not go unsigned."""
    worker.keys.broken = True
    with pytest.raises(WorkerError, match="database"):
        _signed(client, "anna@hosp.test", "anna@hosp.test")
