"""Secrets as an administrator rotates them: the key worker runs on, old mail opens, old stamps are proved."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.wait import until
from tests.contract.test_own_certificates import ENTITY, Office
from tests.fakes import FakeRecord

from gatepost.app.store import host_of, open_database
from gatepost.db.counts import SqlCounts
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.settings import read

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture
def office() -> Iterator[Office]:
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as folder:
        office = Office(Path(folder))
        yield office
        office.close()


def run(office: Office, *words: str, fails: bool = False) -> str:
    done = office.site.gatepost("-c", str(office.site.config), *words, fails=fails)
    return (done.stderr if fails else done.stdout).decode()


def record(office: Office, number: int) -> None:
    """Write events, and wait until the key worker has stamped them."""
    settings = read(office.site.config)
    database = open_database(settings)
    host = host_of(settings)
    writer = Writer(database, host)
    for one in range(number):
        writer.post(FakeRecord(Event(at=1777777777.0 + one, queue_id=f"Q{one}", recipient=f"{one}@p.test")))
    writer.close()
    counts = SqlCounts(database)
    until(lambda: counts.unstamped(host) == 0, 20, "the events are stamped")
    database.close()


def restart(office: Office) -> None:
    office.client.close()
    assert office.site.stop() == 0
    office.site.start()


def test_a_rotation_under_way(office: Office) -> None:
    """
    What was encrypted before opens at every stage, without a restart, too; new keys are sealed to the new secret;
    the record proves whole. Once forgotten, the old half is nowhere in the file, and all of this still holds.
    """
    anna = office.made("--for", "anna@hosp.test", "--algorithm", "p256")
    file = office.site.directory / "secrets" / "keys"
    old = file.read_bytes()
    record(office, 5)

    found = json.loads(run(office, "secret", "rotate", "--json"))
    assert [(one["secret"], one["resealed"], one["unopened"]) for one in found["secrets"]] == [
        ("keys", 2, []),
        ("vault", 0, []),
    ]
    assert "restart gatepost-keys" in found["next"]
    bea = office.made("--for", "anna@hosp.test", "--algorithm", "p256")
    assert [office.opened(one) for one in (anna, bea)] == [ENTITY] * 2
    record(office, 5)
    assert "OK: 10 events" in run(office, "audit", "verify")
    restart(office)
    record(office, 5)
    assert "OK: 15 events" in run(office, "audit", "verify")
    assert [office.opened(one) for one in (anna, bea)] == [ENTITY] * 2

    assert "keys: 0 sealed anew" in run(office, "secret", "rotate", "keys", "--forget")
    assert old not in file.read_bytes()
    assert old.hex() not in file.read_text()
    restart(office)
    record(office, 5)
    assert "OK: 20 events" in run(office, "audit", "verify")
    assert [office.opened(one) for one in (anna, bea)] == [ENTITY] * 2


def test_wrong_usage_of_rotate(office: Office) -> None:
    """What contradicts itself or is no secret is wrong usage; what cannot be read is refused in one line."""
    for words in (("keys", "--prepare", "--forget"), ("client.pem",)):
        assert "Usage" in run(office, "secret", "rotate", *words, fails=True)
    (office.site.directory / "secrets" / "vault").unlink()
    refused = run(office, "secret", "rotate", "vault", fails=True)
    assert refused.count("\n") == 1
    assert "vault: this secret cannot be read" in refused
    assert sys.executable not in refused
