"""`gatepost quarantine release`: through the whole product but Postfix, with the key worker at its socket."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pysequoia
import pytest
from lab.place import short_folder
from typer.testing import CliRunner, Result

from gatepost import secrets
from gatepost.app import gateway as wiring
from gatepost.app.store import open_database, open_quarantine, unix_path
from gatepost.cli.main import app
from gatepost.crypto.halves import Halves, Unsealer
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.proof import Prover
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.db.keys import KeyTable
from gatepost.directory.key import Key, Trust
from gatepost.errors import DeliveryError, VaultError, WorkerError
from gatepost.gateway.budget import Budget
from gatepost.gateway.submission import Submission
from gatepost.message.address import Address, parse
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction
from gatepost.settings import Settings, read
from gatepost.vault.held import Held, Quarantine
from gatepost.workers.keys import Callers, KeyHolder, KeyServer

BOB, CAROL = Recipient(parse(b"<bob@x.test>")), Recipient(parse(b"<carol@x.test>"))
MESSAGE = Transaction(
    Client("192.0.2.1", listener="submission", authenticated="alice"),
    parse(b"<a@hosp.test>"),
    (),
    (BOB, CAROL),
    (Field(b"From", b" a@hosp.test"), Field(b"Subject", b" hello"), Field(b"Message-ID", b" <1@hosp.test>")),
    MemoryBody(b"Canary\r\n"),
    "4XYZ",
)
BOBS = pysequoia.Tsk.generate("Bob <bob@x.test>", validity_seconds=86400)


class NoKeys:
    """A directory without keys, and an engine that decrypts nothing: releasing needs neither."""

    def sealed(self, address: Address, kind: str) -> tuple[tuple[Key, bytes], ...]:
        raise NotImplementedError

    def find(self, address: Address, kind: str) -> tuple[Key, ...]:
        raise NotImplementedError

    def decrypt(self, ciphertext: bytes, private: bytes, signers: object) -> None:  # type: ignore[misc]
        raise NotImplementedError


class Listener:
    """Stands for the re-injection listener."""

    def __init__(self) -> None:
        self.taken: list[Submission] = []
        self.broken = False

    def submit(self, submission: Submission, budget: Budget) -> str:
        assert budget.left() > 0
        if self.broken:
            raise DeliveryError("the listener is down")
        self.taken.append(submission)
        return "4NEW"


class Site:
    """A site as `init` makes it, with one held copy."""

    def __init__(self, directory: Path, listener: Listener) -> None:
        self.listener = listener
        self.config = directory / "gatepost.toml"
        self._invoke("init", str(directory), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
        self.settings: Settings = read(self.config)
        self.held = self.quarantine.hold(
            MESSAGE, (BOB, CAROL), subject="hello", cause="a rule", rules=(), name=uuid4()
        )

    @property
    def quarantine(self) -> Quarantine:
        return open_quarantine(self.settings)

    def _invoke(self, *args: str) -> Result:
        return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)

    def run(self, *args: str) -> Result:
        return self._invoke("-c", str(self.config), *args)

    def release(self, *args: str) -> Result:
        return self.run("quarantine", "release", str(self.held.id), "--json", *args)

    def add_key(self) -> None:
        certificate = bytes(BOBS.extract_certificate())
        fingerprint = SequoiaEncryptor().read(certificate)[0].fingerprint
        key = Key(fingerprint, "openpgp", "bob@x.test", certificate, Trust.ADMIN)
        KeyTable(open_database(self.settings)).put([key])

    def still_held(self) -> Held:
        return self.quarantine.find(str(self.held.id))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Make a site without its key worker."""
    listener = Listener()
    monkeypatch.setattr(wiring, "reinjection_of", lambda _: listener)
    with short_folder() as folder:
        yield Site(folder / "site", listener)


@pytest.fixture
def site(bare: Site) -> Site:
    """Make a site whose key worker answers."""
    holder = KeyHolder(
        own=NoKeys(),
        partners=NoKeys(),
        smime=SmimeDecryptor(),
        signers={},
        openpgp=NoKeys(),  # type: ignore[arg-type]
        keys=Unsealer(lambda: Halves(bytes(32))),
        vault=Unsealer(lambda: secrets.read_halves("vault", bare.settings.secrets.directory)),
        prover=Prover(bytes(32)),
    )
    server = KeyServer(unix_path(bare.settings.keys.socket), holder, Callers())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return bare


def test_who_has_a_key_gets_it_encrypted(site: Site) -> None:
    """Bob's copy leaves encrypted to his key, Carol's stays held with the reason, and the exit status is 1."""
    site.add_key()
    result = site.release()
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert [(one["address"], one["treatment"]) for one in value["released"]] == [("bob@x.test", "openpgp")]
    assert [one["address"] for one in value["held"]] == ["carol@x.test"]
    assert "stays held for carol@x.test" in result.stderr
    (copy,) = site.listener.taken
    assert copy.recipients == (BOB,)
    assert b"PGP MESSAGE" in copy.body.read()
    assert b"Canary" not in copy.body.read()
    assert site.still_held().recipients == (CAROL,)


def test_one_recipient(site: Site) -> None:
    """With --to only that recipient gets a copy, and done is done: exit status 0."""
    site.add_key()
    result = site.release("--to", "Bob@x.test")
    assert result.exit_code == 0, result.output
    assert site.still_held().recipients == (CAROL,)


def test_release_is_recorded(site: Site) -> None:
    """`why` tells of the release, and where the copy went."""
    site.add_key()
    site.release("--to", "bob@x.test")
    events = json.loads(site.run("why", "4XYZ", "--json").stdout)["events"]
    assert [(one["recipient"], one["treatment"], one["detail"]) for one in events] == [
        ("bob@x.test", "openpgp", {"queued_as": "4NEW"})
    ]


def test_no_key_stays_held(site: Site) -> None:
    """Without a usable rung nothing leaves, the row stays as it was, and the exit status is 1."""
    result = site.release()
    assert result.exit_code == 1
    assert site.listener.taken == []
    assert site.still_held() == site.held


def test_listener_down(site: Site) -> None:
    """What could not be submitted stays held."""
    site.add_key()
    site.listener.broken = True
    with pytest.raises(DeliveryError):
        site.release()
    assert site.still_held() == site.held


def test_key_worker_down(bare: Site) -> None:
    """Without the key worker nothing opens, and the error says what to start."""
    with pytest.raises(WorkerError, match="run keys"):
        bare.release()
    assert bare.still_held() == bare.held


def test_as_is_is_refused(site: Site) -> None:
    """No rule here has finds that were shown, so nothing leaves as it is."""
    with pytest.raises(VaultError, match="--as-is lifts only"):
        site.release("--as-is", "--reason", "urgent")
    assert site.listener.taken == []


@pytest.mark.parametrize("args", [("--as-is",), ("--reason", "x"), ("--as-is", "--reason", " ")])
def test_as_is_and_reason_go_together(site: Site, args: tuple[str, ...]) -> None:
    """--as-is without its reason, or a reason without it, is wrong usage."""
    result = site.release(*args)
    assert result.exit_code == 2
    assert site.listener.taken == []
