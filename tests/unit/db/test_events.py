"""Events are found by what people have at hand: a queue ID, or a Message-ID with or without its brackets."""

import pytest
from tests.fakes import FakeRecord

from gatepost.db.engine import Database
from gatepost.db.events import SqlEvents
from gatepost.db.writer import Writer
from gatepost.directory.event import Event

EVENTS = [
    Event(
        at=1_700_000_000.0,
        queue_id="4XYZ",
        message_id="<1@hosp.test>",
        direction="out",
        sender="alice@hosp.test",
        recipient=recipient,
        demand="encrypt",
        treatment="openpgp",
        rules=("one", "two"),
        reasons=("because", "and so"),
        detail={"queued_as": "4ABC"},
    )
    for recipient in ("bob@p.test", "carol@p.test")
]


@pytest.fixture
def events(database: Database) -> SqlEvents:
    writer = Writer(database, "gw")
    writer.post(FakeRecord(*EVENTS))
    writer.close()
    return SqlEvents(database)


@pytest.mark.parametrize("name", ["4XYZ", "<1@hosp.test>", "1@hosp.test"])
def test_found_in_order(events: SqlEvents, name: str) -> None:
    """Every recipient's event comes back whole and in order."""
    assert events.find(name) == tuple(EVENTS)


@pytest.mark.parametrize("name", ["", "4xyz-", "%", "2@hosp.test"])
def test_not_found(events: SqlEvents, name: str) -> None:
    """Anything else finds nothing."""
    assert events.find(name) == ()
