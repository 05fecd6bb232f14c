"""Held copies: durable before anyone relies on them, unreadable to the writer, gone when their key is."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gatepost.crypto import seal
from gatepost.errors import CryptoError, StorageError, VaultError
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction
from gatepost.vault.blobs import DirectoryBlobs
from gatepost.vault.expiry import Expiry
from gatepost.vault.held import Held, Quarantine, key_context

BOB, CAROL = Recipient(parse(b"<bob@p.test>"), ("NOTIFY=NEVER",)), Recipient(parse(b"<carol@p.test>"))
CANARY = b"the patient's name is Canary"
MESSAGE = Transaction(
    client=Client("192.0.2.1"),
    sender=parse(b"<alice@hosp.test>"),
    parameters=("BODY=8BITMIME",),
    recipients=(BOB, CAROL, Recipient(parse(b"<dave@hosp.test>"))),
    fields=(Field(b"Message-ID", b" <1@hosp.test>"), Field(b"Subject", b" folded\n line")),
    body=MemoryBody(CANARY + b"\r\n" + bytes(200_000)),
    queue_id="4XYZ",
)


class Rows:
    """Rows in memory, as the database would keep them."""

    def __init__(self) -> None:
        self.rows: dict[str, Held] = {}
        self.broken = False

    def add(self, held: Held) -> None:
        if self.broken:
            raise StorageError("down")
        self.rows[str(held.id)] = held

    def matching(self, prefix: str) -> tuple[Held, ...]:
        return tuple(row for name, row in self.rows.items() if name.startswith(prefix))[:2]

    def waiting(self) -> tuple[Held, ...]:
        return tuple(row for row in self.rows.values() if row.state == "held")

    def expired(self, now: datetime) -> tuple[Held, ...]:
        if self.broken:
            raise StorageError("down")
        return tuple(row for row in self.waiting() if row.expires <= now)

    def narrow(self, held: Held, recipients: Sequence[Recipient], reason: str) -> bool:
        return self._change(held, replace(held, recipients=tuple(recipients), reason=reason))

    def close(self, held: Held, state: str, at: datetime, reason: str) -> bool:
        return self._change(held, replace(held, wrapped_key=None, state=state, released_at=at, reason=reason))

    def _change(self, before: Held, after: Held) -> bool:
        if self.rows[str(before.id)] != before:
            return False
        self.rows[str(before.id)] = after
        return True


class Place:
    """A quarantine, its rows, its directory, its private key and its clock."""

    def __init__(self, directory: Path) -> None:
        self.private, public = seal.new_pair()
        self.directory = directory
        self.rows = Rows()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.quarantine = Quarantine(
            store=self.rows,
            blobs=DirectoryBlobs(directory),
            public=lambda: public,
            keep=timedelta(days=7),
            clock=lambda: self.now,
        )

    def hold(self, name: UUID | None = None) -> Held:
        return self.quarantine.hold(
            MESSAGE, (BOB, CAROL), subject="folded line", cause="a rule", rules=("r",), name=name or uuid4()
        )

    def key(self, held: Held) -> bytes:
        assert held.wrapped_key is not None
        return seal.unwrap(self.private, held.wrapped_key, key_context(held.id))

    def files(self) -> list[Path]:
        return list(self.directory.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_held_copy_comes_back_as_received(place: Place) -> None:
    """The message is read back byte for byte, for the recipients for whom it is held."""
    held = place.hold()
    found = place.quarantine.find(str(held.id)[:8])
    message = place.quarantine.read(found, place.key(found))
    assert message.body.read() == MESSAGE.body.read()
    assert (message.fields, message.sender, message.parameters) == (
        MESSAGE.fields,
        MESSAGE.sender,
        MESSAGE.parameters,
    )
    assert message.recipients == (BOB, CAROL)
    assert message.queue_id == "4XYZ"


def test_nothing_readable_on_disk(place: Place) -> None:
    """The vault's files hold neither the message nor a key that opens them."""
    place.hold()
    assert all(CANARY not in path.read_bytes() for path in place.files())


def test_a_copy_is_held_once(place: Place) -> None:
    """A retry that holds a copy of the same name changes nothing, whatever has become of it meanwhile."""
    name = uuid4()
    held = place.hold(name)
    assert place.hold(name) == held
    assert len(place.files()) == 1
    place.quarantine.delete(held, "not wanted")
    place.hold(name)
    assert place.files() == []
    assert place.rows.waiting() == ()


def test_a_row_whose_writing_is_in_doubt_keeps_its_blob(place: Place) -> None:
    """
    Where the row may have been written though an error came back, the message can still be read.

    A retry under the same name finds the row, or writes one with a blob of its own.
    """
    place.rows.broken = True
    with pytest.raises(StorageError):
        place.hold()
    assert len(place.files()) == 1


def test_no_row_without_its_blob(place: Place) -> None:
    """Where the blob cannot be written, no row says that something is held."""
    place.directory.rmdir()
    with pytest.raises(StorageError):
        place.hold()
    assert place.rows.rows == {}


def test_deleted_copy_has_no_key(place: Place) -> None:
    """Deleting takes the wrapped key away first, then the blob."""
    held = place.hold()
    place.quarantine.delete(held, "not needed")
    assert place.rows.rows[str(held.id)].wrapped_key is None
    assert place.files() == []
    with pytest.raises(VaultError, match="deleted"):
        place.quarantine.find(str(held.id))


def test_expired_copies_are_deleted_when_listed(place: Place) -> None:
    """After its time a copy is neither listed nor found, and its key is gone."""
    held = place.hold()
    assert [one.id for one in place.quarantine.waiting()] == [held.id]
    place.now += timedelta(days=7)
    assert place.quarantine.waiting() == ()
    assert place.rows.rows[str(held.id)].wrapped_key is None
    assert place.files() == []


def test_expired_copy_is_not_found(place: Place) -> None:
    """A copy whose time is over cannot be released, even if nothing has deleted it yet."""
    held = place.hold()
    place.now += timedelta(days=8)
    with pytest.raises(VaultError, match="time was over"):
        place.quarantine.find(str(held.id))


def test_one_recipient_goes_others_stay(place: Place) -> None:
    """What went to one recipient stays held for the others, and ends when the last one has it."""
    held = place.hold()
    place.quarantine.finish(held, [BOB], "released")
    left = place.quarantine.find(str(held.id))
    assert left.recipients == (CAROL,)
    assert place.quarantine.read(left, place.key(left)).recipients == (CAROL,)
    place.quarantine.finish(left, [CAROL], "released")
    assert place.rows.rows[str(held.id)].state == "released"
    assert place.rows.rows[str(held.id)].wrapped_key is None
    assert place.files() == []


def test_two_at_once_are_noticed(place: Place) -> None:
    """Whoever acts on a row that has changed meanwhile is told so."""
    held = place.hold()
    place.quarantine.finish(held, [BOB], "released")
    with pytest.raises(VaultError, match="someone else"):
        place.quarantine.finish(held, [CAROL], "released")
    with pytest.raises(VaultError, match="someone else"):
        place.quarantine.delete(held, "no")


def test_recipients_added_to_the_row_are_refused(place: Place) -> None:
    """A recipient written into the row by hand never gets a message that was not sent to them."""
    held = place.hold()
    forged = replace(held, recipients=(Recipient(parse(b"<eve@evil.test>")),))
    with pytest.raises(CryptoError, match="recipients"):
        place.quarantine.read(forged, place.key(held))


def test_exchanged_blobs_are_refused(place: Place) -> None:
    """A blob put in another's place does not open."""
    first, second = place.hold(), place.hold()
    (place.directory / str(first.blob)).write_bytes((place.directory / str(second.blob)).read_bytes())
    with pytest.raises(CryptoError):
        place.quarantine.read(first, place.key(first))


def test_unknown_and_ambiguous_ids(place: Place) -> None:
    """An ID that fits none or several copies is an error that says what to do."""
    with pytest.raises(VaultError, match="quarantine list"):
        place.quarantine.find("abc")
    place.hold()
    place.hold()
    with pytest.raises(VaultError, match="several"):
        place.quarantine.find("")


def test_expiry_needs_nobody(place: Place) -> None:
    """Expired copies go without anyone asking, and a failing database does not end that."""
    place.now -= timedelta(days=30)
    held = place.hold()
    place.now += timedelta(days=30)
    place.rows.broken = True
    expiry = Expiry("held copies", place.quarantine.purge, seconds=0.01)
    time.sleep(0.05)
    place.rows.broken = False
    deadline = time.monotonic() + 10
    while place.rows.rows[str(held.id)].wrapped_key is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    expiry.close()
    assert place.rows.rows[str(held.id)].wrapped_key is None
    assert place.files() == []
