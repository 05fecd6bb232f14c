"""The system's site lies where the units look, with what their users need."""

import os
import pwd
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatepost import secrets
from gatepost.app import new_site
from gatepost.app.new_site import Owner, make_system_site
from gatepost.cli.init import system_settings_text
from gatepost.cli.main import app
from gatepost.errors import ConfigError
from gatepost.settings import Settings, read


@pytest.fixture
def text() -> str:
    return system_settings_text(["hosp.test"], "gw.hosp.test")


@pytest.fixture
def settings(text: str, tmp_path: Path) -> Settings:
    file = tmp_path / "draft.toml"
    file.write_text(text)
    return read(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def make(root: Path, settings: Settings, text: str) -> None:
    make_system_site(settings, text, Owner(os.geteuid(), os.getegid()), root)


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def test_files_lie_where_the_units_look(root: Path, settings: Settings, text: str) -> None:
    """Every place is a default of the settings, shared with the group or closed as the services need it."""
    make(root, settings, text)

    modes = {
        "etc/gatepost/gatepost.toml": "640",
        "etc/gatepost/secrets/keys": "600",
        "etc/gatepost/secrets/vault": "600",
        "etc/gatepost/secrets/client.pem": "600",
        "etc/gatepost/secrets/listener.pem": "600",
        "etc/gatepost/secrets/keys.pub": "644",
        "etc/gatepost/secrets/vault.pub": "644",
        "var/lib/gatepost": "2770",
        "var/lib/gatepost/gatepost.db": "660",
        "var/lib/gatepost/spool": "700",
        "var/lib/gatepost/vault": "2770",
    }
    assert {name: mode(root / name) for name in modes} == modes
    assert list((root / "etc/gatepost/rules").glob("*.toml"))


def test_rules_that_are_there_stay(root: Path, settings: Settings, text: str) -> None:
    """Rules that the installation put there are kept, and no example comes beside them."""
    rules = root / "etc/gatepost/rules"
    rules.mkdir(parents=True)
    (rules / "mine.toml").write_text("# mine")

    make(root, settings, text)

    assert {path.name: path.read_text() for path in rules.iterdir()} == {"mine.toml": "# mine"}


@pytest.mark.parametrize("there", ["gatepost.toml", *(f"secrets/{name}" for name in secrets.FILES)])
def test_nothing_is_overwritten(root: Path, settings: Settings, text: str, there: str) -> None:
    """A secret or settings file that exists is named, and nothing is made."""
    file = root / "etc/gatepost" / there
    file.parent.mkdir(parents=True)
    file.write_text("mine")

    with pytest.raises(ConfigError, match=f"{there}: exists already"):
        make(root, settings, text)

    assert [path for path in root.rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "mine"


def test_the_database_is_not_overwritten(root: Path, settings: Settings, text: str) -> None:
    """A database that exists stays as it is."""
    file = root / "var/lib/gatepost/gatepost.db"
    file.parent.mkdir(parents=True)
    file.write_text("mine")

    with pytest.raises(ConfigError, match=r"gatepost\.db: exists already"):
        make(root, settings, text)

    assert file.read_text() == "mine"


def test_missing_users_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the units' users nothing is made, and the remedy is named."""

    def nobody(name: str) -> pwd.struct_passwd:
        raise KeyError(f"getpwnam(): name not found: '{name}'")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", nobody)

    with pytest.raises(ConfigError, match=r"users are missing.*'gatepost'.*run `systemd-sysusers` first"):
        new_site.system_owner()


def test_another_user_than_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`init /etc/gatepost` is root's, and says so before it makes anything."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    result = CliRunner().invoke(app, ["init", "/etc/gatepost", "--domain", "hosp.test"])

    assert isinstance(result.exception, ConfigError)
    assert "run this as root" in str(result.exception)
