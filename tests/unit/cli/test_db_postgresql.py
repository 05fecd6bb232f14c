"""The command line on PostgreSQL: what an admin does and sees."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lab.place import free_port
from lab.postgresql import PASSWORD, PostgreSQL
from sqlalchemy import make_url

from gatepost import __main__
from gatepost.db import schema

pytestmark = pytest.mark.real

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a site with this database; gives exit status, stdout and the lines of stderr."""
    monkeypatch.setenv("GATEPOST_ROOT_WARNED", "1")

    def run(url: str, *words: str) -> tuple[int, str, list[str]]:
        config = tmp_path / "gatepost.toml"
        places = f'[secrets]\ndirectory = "{tmp_path}"\n[database]\nurl = "{url}"\n'
        config.write_text(f'[gateway]\ninternal_domains = ["in.test"]\n{places}')
        monkeypatch.setattr("sys.argv", ["gatepost", "--config", str(config), *words])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), out, err.splitlines()

    return run


def test_from_an_empty_database(new_database: Callable[..., str], run: Run) -> None:
    """An admin makes the schema, sees its version, and enters a partner."""
    url, newest = new_database("postgresql", empty=True), schema.newest()

    assert run(url, "db", "current") == (0, f"version none, needed {newest}; run `gatepost db upgrade`\n", [])
    status, _, told = run(url, "partner", "list")
    assert status == 1
    assert told[0].endswith("has no Gatepost schema: run `gatepost db upgrade`")
    assert run(url, "db", "upgrade") == (0, f"the schema is at version {newest}\n", [])
    assert run(url, "db", "current") == (0, f"version {newest}, needed {newest}\n", [])
    assert run(url, "partner", "add", "a.test", "--demand", "encrypt")[0] == 0
    assert "a.test" in run(url, "partner", "list")[1]


def test_an_older_schema(postgresql: PostgreSQL, new_database: Callable[..., str], run: Run) -> None:
    """A Gatepost that is newer than its database says what to run, in one line."""
    url = new_database("postgresql")
    postgresql.psql("UPDATE alembic_version SET version_num = '0001'", make_url(url).database or "")
    status, _, told = run(url, "partner", "list")

    assert (status, len(told)) == (1, 1)
    assert "has the older schema 0001: run `gatepost db upgrade`" in told[0]


def test_no_server(run: Run) -> None:
    """A server that is not there is one line."""
    port = free_port()
    status, _, told = run(f"postgresql+psycopg://gatepost:secret-word@127.0.0.1:{port}/gatepost", "db", "current")

    assert (status, len(told)) == (1, 1)
    assert f"port {port} failed: Connection refused" in told[0]
    assert "secret-word" not in told[0]


def test_the_password_is_a_secret_of_the_site(
    postgresql: PostgreSQL, new_database: Callable[..., str], tmp_path: Path, run: Run
) -> None:
    """The site's secret `database` opens the database, and a wrong one is one line."""
    name = make_url(new_database("postgresql")).database
    url = f"postgresql+psycopg://gatepost@127.0.0.1:{postgresql.port}/{name}"
    secret = tmp_path / "database"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSWORD}\n")
    assert run(url, "partner", "list")[0] == 0

    secret.write_text("secret-word\n")
    status, _, told = run(url, "partner", "list")
    assert (status, len(told)) == (1, 1)
    assert "password authentication failed" in told[0]
    assert "secret-word" not in told[0]
