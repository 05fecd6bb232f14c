"""`gatepost quarantine`: held copies are listed as the contract says, shown and deleted."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from gatepost.app.store import open_quarantine
from gatepost.cli.main import app
from gatepost.errors import VaultError
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.message.transaction import Client, Recipient, Transaction
from gatepost.settings import read
from gatepost.vault.held import Held

BOB, CAROL = Recipient(parse(b"<bob@x.test>")), Recipient(parse(b"<carol@x.test>"))
MESSAGE = Transaction(
    Client("192.0.2.1", "c.test", "submission", "alice"), parse(b"<a@hosp.test>"), (), (BOB, CAROL), (),
    MemoryBody(b"x"), "4XYZ",
)  # fmt: skip


class Site:
    """A site as `init` makes it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "gatepost.toml"
        self._invoke("init", str(directory), "--domain", "hosp.test", "--hostname", "gw.hosp.test")

    def _invoke(self, *args: str) -> Result:
        return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)

    def run(self, *args: str) -> Result:
        return self._invoke("-c", str(self.config), *args)

    def hold(self, subject: str = "Hello") -> Held:
        quarantine = open_quarantine(read(self.config))
        return quarantine.hold(
            MESSAGE, (BOB, CAROL), subject=subject, cause="no usable key", rules=("r",), name=uuid4()
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_empty_list(site: Site) -> None:
    """Nothing held is an empty list."""
    assert json.loads(site.run("quarantine", "list", "--json").stdout) == {"held": []}


def test_list(site: Site) -> None:
    """The list's JSON has exactly the contract's keys; times carry their zone."""
    held = site.hold()
    assert json.loads(site.run("quarantine", "list", "--json").stdout) == {
        "held": [
            {
                "id": str(held.id),
                "sender": "a@hosp.test",
                "recipients": ["bob@x.test", "carol@x.test"],
                "subject": "Hello",
                "cause": "no usable key",
                "rules": ["r"],
                "since": held.since.isoformat(),
                "expires": held.expires.isoformat(),
            }
        ]
    }


def test_list_for_people(site: Site) -> None:
    """A subject with terminal codes cannot do anything to the terminal."""
    held = site.hold("evil\x1b[31m\nID" + "x" * 500)
    out = site.run("quarantine", "list").stdout
    assert str(held.id)[:8] in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert max(map(len, out.splitlines())) < 240


def test_show(site: Site) -> None:
    """A short ID suffices; who handed the message in and its queue ID are shown, its content is not."""
    held = site.hold()
    value = json.loads(site.run("quarantine", "show", str(held.id)[:6], "--json").stdout)
    assert value["id"] == str(held.id)
    assert (value["queue_id"], value["client"], value["authenticated"]) == ("4XYZ", "192.0.2.1", "alice")
    assert "bob@x.test, carol@x.test" in site.run("quarantine", "show", str(held.id)).stdout


def test_delete(site: Site) -> None:
    """After deleting, the copy is neither listed nor found, and the vault is empty."""
    held = site.hold()
    assert json.loads(site.run("quarantine", "delete", str(held.id), "--json").stdout) == {
        "id": str(held.id),
        "deleted": True,
    }
    assert json.loads(site.run("quarantine", "list", "--json").stdout) == {"held": []}
    assert list((site.directory / "vault").iterdir()) == []
    with pytest.raises(VaultError, match="held no longer: deleted"):
        site.run("quarantine", "show", str(held.id))


def test_unknown_id(site: Site) -> None:
    """An unknown ID is an error that says where to look."""
    with pytest.raises(VaultError, match="quarantine list"):
        site.run("quarantine", "delete", "abc")
