"""Held copies in the database: every value comes back, and a row changes only from what was seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from gatepost.db.engine import Database
from gatepost.db.held import SqlHeld
from gatepost.db.tables import held as table
from gatepost.errors import StorageError
from gatepost.message.address import NULL_SENDER, parse
from gatepost.message.transaction import Client, Recipient
from gatepost.vault.held import Held

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOB, CAROL = Recipient(parse(b"<Bob@p.test>"), ("NOTIFY=NEVER",)), Recipient(parse("<käthe@p.test>".encode()))


@pytest.fixture
def store(database: Database) -> SqlHeld:
    return SqlHeld(database)


def copy(**changes: object) -> Held:
    held = Held(
        id=uuid4(),
        blob=uuid4(),
        queue_id="4XYZ",
        sender=parse(b"<alice@hosp.test>"),
        parameters=("BODY=8BITMIME", "x\udcff"),
        recipients=(BOB, CAROL),
        client=Client("192.0.2.1", "c.test", "submission", "alice"),
        subject="Grüße",
        message_id="<1@hosp.test>",
        cause="a rule",
        rules=("one", "two"),
        since=SINCE,
        expires=SINCE + timedelta(days=7),
        wrapped_key=b"wrapped",
    )
    return replace(held, **changes)  # type: ignore[arg-type]


def test_every_value_comes_back(store: SqlHeld) -> None:
    """A row holds all that was given, bytes of addresses included."""
    held = copy()
    store.add(held)
    assert store.matching(str(held.id)) == (held,)
    assert store.waiting() == (held,)


def test_null_sender_and_odd_texts(store: SqlHeld) -> None:
    """A bounce is held like any mail; texts that no column can hold are mended, not refused."""
    store.add(copy(sender=NULL_SENDER, subject="a\0b\udcff"))
    (row,) = store.waiting()
    assert row.sender.is_null
    assert row.subject == "a\ufffdb?"


def test_matching_prefix(store: SqlHeld) -> None:
    """A short prefix finds its row; one that fits several gives two; wildcards of SQL mean nothing."""
    first, second = copy(id=UUID(int=1 << 124)), copy(id=UUID(int=(1 << 124) + 1))
    store.add(first)
    store.add(second)
    assert len(store.matching("1000")) == 2
    assert store.matching(str(second.id)) == (second,)
    assert store.matching("%") == store.matching("_") == ()


def test_waiting_is_oldest_first(store: SqlHeld) -> None:
    """The list begins with what waits longest and leaves out what waits no more."""
    late, early, gone = copy(since=SINCE + timedelta(hours=1)), copy(), copy()
    for held in (late, early, gone):
        store.add(held)
    assert store.close(gone, "deleted", SINCE, "x")
    assert [held.id for held in store.waiting()] == [early.id, late.id]


def test_expired(store: SqlHeld) -> None:
    """A row is expired from the moment that it names."""
    held = copy()
    store.add(held)
    assert store.expired(held.expires - timedelta(seconds=1)) == ()
    assert store.expired(held.expires) == (held,)


@pytest.mark.parametrize(("state", "released_at"), [("released", SINCE), ("deleted", None)])
def test_closing_takes_the_key_away(store: SqlHeld, state: str, released_at: datetime | None) -> None:
    """One change sets the state and deletes the wrapped key."""
    held = copy()
    store.add(held)
    assert store.close(held, state, SINCE, "why")
    (row,) = store.matching(str(held.id))
    assert (row.wrapped_key, row.state, row.released_at, row.reason) == (None, state, released_at, "why")


def test_only_what_was_seen_changes(store: SqlHeld) -> None:
    """Whoever acts on an old view of a row changes nothing and is told."""
    held = copy()
    store.add(held)
    assert store.narrow(held, (CAROL,), "released to bob")
    assert not store.narrow(held, (BOB,), "released to carol")
    assert not store.close(held, "deleted", SINCE, "x")
    (row,) = store.waiting()
    assert row.recipients == (CAROL,)
    assert store.close(row, "released", SINCE, "done")
    assert not store.close(row, "released", SINCE, "again")


def test_broken_row_is_named(store: SqlHeld) -> None:
    """A row that somebody spoilt by hand is an error that names it."""
    store.add(copy())
    with store._database.writing() as connection:
        connection.execute(table.update().values(recipients="nonsense"))
    with pytest.raises(StorageError, match="cannot be read"):
        store.waiting()
