"""A rotation of secrets, on either engine: what lies sealed opens, whatever step was the last one done."""

import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, update
from tests.unit.db.conftest import Rows

from gatepost import secrets
from gatepost.app.rotation import SecretFiles
from gatepost.crypto import seal
from gatepost.crypto.authority import authority_context, request_context
from gatepost.crypto.halves import Halves
from gatepost.crypto.openpgp import private_context
from gatepost.db.engine import Database
from gatepost.db.issuing import SqlIssuing
from gatepost.db.keys import KeyTable
from gatepost.db.sealed import SqlSealed
from gatepost.db.tables import held
from gatepost.directory.key import Key, Trust
from gatepost.errors import ConfigError, CryptoError
from gatepost.gateway.issuing import Authority, Request
from gatepost.gateway.rotation import Resealed, Rewrap, Rotation
from gatepost.message.address import parse
from gatepost.vault.held import key_context

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY = Key("AA", "smime", "anna@hosp.test", b"public", Trust.ADMIN)
OWNERS = ("anna@hosp.test", "hosp.test")


class Site:
    """A site's secrets, and a database with something sealed in every place."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        secrets.make(directory, "gw.hosp.test")
        self.held = uuid4()
        self.fill()

    def fill(self) -> None:
        keys, vault = (secrets.read_public(name, self.directory) for name in secrets.PAIRS)
        sealed = seal.wrap(keys, b"private", private_context("AA"))
        KeyTable(self.database).put([Key("AA", "smime", owner, b"", Trust.ADMIN) for owner in OWNERS], sealed)
        KeyTable(self.database).put([Key("BB", "smime", "bob@other.test", b"", Trust.ADMIN)])
        issuing = SqlIssuing(self.database)
        root = seal.wrap(keys, b"root", authority_context("CC"))
        issuing.add_authority(Authority("CC", b"certificate", root, NOW), NOW)
        issuing.add_request(Request("DD", "eve@hosp.test", seal.wrap(keys, b"new", request_context("DD"))), NOW)
        with self.database.writing() as connection:
            for name, key in ((self.held, seal.wrap(vault, b"data", key_context(self.held))), (uuid4(), None)):
                row = {"id": str(name), "since": NOW, "expires": NOW + timedelta(days=1), "data_key": key}
                connection.execute(insert(held).values(row))

    def rotation(self, pair: str) -> Rotation:
        return Rotation(files=SecretFiles(pair, self.directory), sealed=SqlSealed(self.database, pair))

    def opens(self) -> bool:
        """Tell whether everything opens with the secrets as they lie there."""
        keys, vault = (secrets.read_halves(name, self.directory) for name in secrets.PAIRS)
        issuing = SqlIssuing(self.database)
        with self.database.reading() as connection:
            data_key = connection.scalar(select(held.c.data_key).where(held.c.id == str(self.held)))
        mine = KeyTable(self.database).sealed(parse(b"anna@hosp.test"), "smime")
        assert len(mine) == len(OWNERS)
        wanted = [
            *((keys, sealed, private_context("AA"), b"private") for _, sealed in mine),
            (keys, issuing.authorities()[0].sealed, authority_context("CC"), b"root"),
            (keys, issuing.request("DD").sealed, request_context("DD"), b"new"),
            (vault, bytes(data_key or b""), key_context(self.held), b"data"),
        ]
        return all(seal.unwrap_any(one.all, sealed, context) == text for one, sealed, context, text in wanted)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    return Site(database, tmp_path / "secrets")


@pytest.mark.parametrize(("pair", "number"), [("keys", 4), ("vault", 1)])
def test_everything_is_sealed_to_the_new_half(site: Site, pair: str, number: int) -> None:
    """Private keys, authority, requests; data keys of held copies. Then the old half is needed no more."""
    old = secrets.read_halves(pair, site.directory)
    public = secrets.read_public(pair, site.directory)

    assert site.rotation(pair).rotate() == Resealed(number, ())
    new = secrets.read_halves(pair, site.directory)
    assert new.former == (old.current,)
    assert new.public == secrets.read_public(pair, site.directory) != public
    assert site.opens()
    assert site.rotation(pair).forget() == Resealed(0, ())
    assert secrets.read_halves(pair, site.directory).all == (new.current,)
    assert site.opens()
    assert {file.name for file in site.directory.iterdir()} == {*secrets.FILES}
    assert (site.directory / pair).stat().st_mode & 0o777 == 0o600
    assert (site.directory / f"{pair}.pub").stat().st_mode & 0o777 == 0o644


def test_what_was_sealed_to_the_old_half_meanwhile(site: Site) -> None:
    """A service that went on sealing to the old half loses nothing when that is forgotten."""
    public = secrets.read_public("keys", site.directory)
    site.rotation("keys").rotate()
    KeyTable(site.database).put([KEY], seal.wrap(public, b"private", private_context("AA")))

    assert site.opens()
    assert site.rotation("keys").forget().number == 1
    assert site.opens()


def test_prepared_halves_are_used_by_the_rotation(site: Site) -> None:
    """Prepared twice is prepared once; nothing is sealed to the new half yet, so the old one stays."""
    public = secrets.read_public("keys", site.directory)
    for _ in range(2):
        site.rotation("keys").prepare()
    new = secrets.read_halves("keys", site.directory)

    assert len(new.all) == 2
    assert secrets.read_public("keys", site.directory) == public
    assert site.opens()
    with pytest.raises(ConfigError, match="not in use: first run `gatepost secret rotate keys`"):
        site.rotation("keys").forget()
    site.rotation("keys").rotate()
    assert secrets.read_halves("keys", site.directory) == new
    assert secrets.read_public("keys", site.directory) == new.public
    assert site.opens()


def test_what_does_not_open_is_told_and_stays(site: Site, sql: Callable[..., Rows]) -> None:
    """A row that was damaged keeps nothing else from being sealed anew."""
    with site.database.writing() as connection:
        connection.execute(update(held).values(data_key=b"rubbish").where(held.c.data_key.is_not(None)))
    KeyTable(site.database).put([Key("EE", "smime", "hosp.test", b"", Trust.ADMIN)], b"rubbish")

    assert site.rotation("keys").rotate() == Resealed(4, ("key EE for hosp.test",))
    assert site.rotation("vault").rotate() == Resealed(0, (f"held copy {site.held}",))
    assert {bytes(value) for (value,) in sql("SELECT data_key FROM held WHERE data_key IS NOT NULL")} == {
        b"rubbish"
    }


def test_halves_that_do_not_belong_together(site: Site) -> None:
    """Of two backups: nothing is done."""
    secrets.replace(site.directory / "keys.pub", seal.new_pair()[1])
    before = (site.directory / "keys").read_bytes()

    for act in (site.rotation("keys").rotate, site.rotation("keys").prepare, site.rotation("keys").forget):
        with pytest.raises(ConfigError, match=r"keys and keys\.pub do not belong together"):
            act()
    assert (site.directory / "keys").read_bytes() == before


class _Killed:
    """The steps of a rotation, in the last of which its process is killed, before or after."""

    def __init__(self, site: Site, step: int, *, after: bool) -> None:
        self._files = SecretFiles("keys", site.directory)
        self._sealed = SqlSealed(site.database, "keys")
        self._left = step
        self._after = after
        self.name = "keys"

    def _step(self, act: Callable[[], object]) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            os._exit(9)
        act()
        if self._left == 0:
            os._exit(9)

    def halves(self) -> Halves:
        return self._files.halves()

    def public(self) -> bytes:
        return self._files.public()

    def write_halves(self, halves: Halves) -> None:
        self._step(lambda: self._files.write_halves(halves))

    def write_public(self, public: bytes) -> None:
        self._step(lambda: self._files.write_public(public))

    def reseal(self, rewrap: Rewrap) -> Resealed:
        def half_way(wrapped: bytes, context: bytes) -> bytes | None:
            if context == request_context("DD"):  # the last of them, within the transaction
                self._step(lambda: None)
            return rewrap(wrapped, context)

        done = self._sealed.reseal(half_way)
        self._step(lambda: None)
        return done


def _dies(site: Site, step: int, *, after: bool) -> bool:
    """Rotate and forget in a process of its own; tell whether it was killed at the step."""
    site.database.close()
    child = os.fork()
    if child == 0:
        try:
            killed = _Killed(site, step, after=after)
            rotation = Rotation(files=killed, sealed=killed)
            public = secrets.read_public("keys", site.directory)
            rotation.rotate()
            late = seal.wrap(public, b"private", private_context("AA"))  # a service did not know yet
            KeyTable(site.database).put([KEY], late)
            rotation.forget()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not go on as a test
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 9}
    return status == 9


_STEPS = 7  # private half; public half; in and after the transaction; the same of `forget`; private halves


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, _STEPS + 1))
def test_killed_at_any_step(site: Site, step: int, after: bool) -> None:
    """Everything opens with what lies there, and the next rotation goes through."""
    assert _dies(site, step, after=after)

    assert site.opens()
    assert site.rotation("keys").rotate().unopened == ()
    assert site.opens()
    site.rotation("keys").forget()
    assert site.opens()


def test_there_are_no_other_steps(site: Site) -> None:
    """The last one is the last."""
    assert not _dies(site, _STEPS + 1, after=False)


def test_the_right_half_is_needed(site: Site) -> None:
    """What was sealed before does not open with the new half alone: the test tells the difference."""
    site.rotation("keys").prepare()
    secrets.replace(site.directory / "keys", secrets.read_halves("keys", site.directory).forgotten().octets())

    with pytest.raises(CryptoError):
        site.opens()
