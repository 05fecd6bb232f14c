"""Secrets as an administrator rotates them: the key worker runs on, old mail opens, old stamps are proved."""

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
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


def test_a_new_machine_opens_old_mail(office: Office) -> None:
    """
    The backup, restored by gpg and tar alone beside a copy of the database, opens what was encrypted before.

    It is for its owner alone, overwrites nothing, and holds nothing in clear.
    """
    anna = office.made("--for", "anna@hosp.test", "--algorithm", "p256")
    phrase, file = office.folder / "phrase", office.folder / "backup.gpg"
    phrase.write_text("long and secret\n")
    site = office.site.directory
    run(office, "secret", "rotate")
    found = json.loads(run(office, "secret", "backup", str(file), "--passphrase-file", str(phrase), "--json"))

    assert {"gatepost.toml", "secrets/keys", "secrets/vault.pub", "secrets/listener.pem"} <= set(found["files"])
    assert any(name.startswith("rules/") for name in found["files"])
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    assert b"gatepost secret" not in before
    again = run(office, "secret", "backup", str(file), "--passphrase-file", str(phrase), fails=True)
    assert "exists already" in again
    assert file.read_bytes() == before
    restart_elsewhere(office, site, file, phrase)

    assert office.opened(anna) == ENTITY
    assert (site / "secrets" / "keys").stat().st_mode & 0o777 == 0o600
    assert office.made("--for", "bea@hosp.test", "--algorithm", "p256")  # the authority's key opens too


def restart_elsewhere(office: Office, site: Path, file: Path, phrase: Path) -> None:
    """Lose all but a copy of the database, as SQLite makes it, and the backup; put both back and start."""
    office.client.close()
    office.site.stop()
    copy = office.folder / "copy.db"
    with closing(sqlite3.connect(site / "gatepost.db")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    shutil.rmtree(site)
    site.mkdir()
    tar = office.site.gpg("--passphrase-file", str(phrase), "--decrypt", str(file))
    subprocess.run(["tar", "x", "-C", str(site)], input=tar, check=True, timeout=60)
    copy.rename(site / "gatepost.db")
    office.site.start()


def test_a_backup_needs_a_passphrase(office: Office) -> None:
    """None, an empty one, a file that is not there: refused in one line, and nothing is written."""
    file, empty = office.folder / "refused.gpg", office.folder / "empty"
    empty.write_text("\n")

    assert "--passphrase-file" in run(office, "secret", "backup", str(file), fails=True)
    assert "is empty" in run(office, "secret", "backup", str(file), "--passphrase-file", str(empty), fails=True)
    gone = run(office, "secret", "backup", str(file), "--passphrase-file", "/nonexistent", fails=True)
    assert gone.count("\n") == 1
    (office.site.directory / "secrets" / "keys").rename(office.folder / "keys")
    empty.write_text("phrase\n")
    assert "keys: this secret cannot be read" in run(
        office, "secret", "backup", str(file), "--passphrase-file", str(empty), fails=True
    )
    assert not file.exists()
    (office.folder / "keys").rename(office.site.directory / "secrets" / "keys")
