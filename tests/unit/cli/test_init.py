"""`gatepost init` makes a whole site and overwrites nothing."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatepost import secrets
from gatepost.app.store import open_database
from gatepost.cli.main import app
from gatepost.errors import ConfigError
from gatepost.settings import read


def init(*args: str) -> str:
    result = CliRunner().invoke(app, ["init", *args], env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_site_is_whole(tmp_path: Path) -> None:
    """Settings, database, secrets, spool, vault and rules are there, and the settings can be read."""
    site = tmp_path / "site"
    out = init(
        str(site), "--domain", "hosp.test", "--domain", ".hosp.test", "--hostname", "gw.hosp.test", "--json"
    )
    assert json.loads(out) == {"config": str(site / "gatepost.toml")}
    settings = read(site / "gatepost.toml")
    assert settings.gateway.internal_domains == ("hosp.test", ".hosp.test")
    assert settings.authserv_id == "gatepost.gw.hosp.test"
    open_database(settings).close()
    assert len(secrets.read("vault", settings.secrets.directory).reveal()) == 32
    assert settings.gateway.spool.is_dir()
    assert settings.rules.directory.is_dir()


@pytest.mark.parametrize("there", ["gatepost.toml", "gatepost.db", "rules", "secrets", "spool", "vault", "run"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    """What exists is named, and nothing is made."""
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigError, match=f"{there}: exists already"):
        init(str(tmp_path), "--domain", "hosp.test")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_wrong_domain_makes_nothing(tmp_path: Path) -> None:
    """Wrong values are told before anything is made."""
    with pytest.raises(ConfigError, match="no domain name"):
        init(str(tmp_path / "site"), "--domain", "hosp test")
    assert not (tmp_path / "site").exists()
