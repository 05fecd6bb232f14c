"""`gatepost setup postfix`: shows, makes and takes back, tells what else to do, and finds free ports."""

import json
import os
import shutil
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.place import short_folder
from typer.testing import CliRunner, Result

from gatepost.cli.main import app
from gatepost.errors import ConfigError

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("postconf") is None, reason="lacks Postfix"),
    pytest.mark.skipif(os.geteuid() != 0, reason="lacks root"),
]

_MAIN = "compatibility_level = 3.6\nmyhostname = mail.hosp.test\n"
_MASTER = "smtp inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n"


class Place:
    """A site as `init` makes it, and a Postfix's configuration."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "site" / "gatepost.toml"
        self.postfix = folder / "etc"
        self.postfix.mkdir()
        (self.postfix / "main.cf").write_text(_MAIN)
        (self.postfix / "master.cf").write_text(_MASTER)
        self._invoke("init", str(folder / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")

    def _invoke(self, *args: str) -> Result:
        return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)

    def setup(self, *args: str) -> Result:
        return self._invoke("-c", str(self.config), "setup", "postfix", "--config-dir", str(self.postfix), *args)

    def set(self, line: str) -> None:
        """Put a line into the section gateway."""
        self.config.write_text(self.config.read_text().replace("[gateway]\n", f"[gateway]\n{line}\n", 1))

    def gateway(self) -> dict[str, str]:
        """Give the section gateway of the settings."""
        values: dict[str, str] = tomllib.loads(self.config.read_text())["gateway"]
        return values

    def files(self) -> dict[str, bytes]:
        """Give every file of Postfix's configuration."""
        return {file.name: file.read_bytes() for file in self.postfix.iterdir()}


@pytest.fixture
def place() -> Iterator[Place]:
    with short_folder() as folder:
        yield Place(folder)


@pytest.fixture
def taken() -> Iterator[str]:
    """Give an address where another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_shown_first(place: Place) -> None:
    """Without an option nothing is written, and what would be is shown."""
    before = place.files()

    result = place.setup()

    assert (result.exit_code, place.files()) == (0, before)
    assert "nothing is written yet: --apply does it" in result.stdout
    assert "+smtpd_milters = $gatepost_milter" in result.stdout


def test_applied_once_and_taken_back(place: Place) -> None:
    """Applying twice changes nothing the second time; reverting gives the admin's bytes back."""
    before = place.files()

    assert "and restart Gatepost" in place.setup("--apply").stdout
    applied = place.files()
    again = json.loads(place.setup("--apply", "--json").stdout)
    assert (again["changed"], again["applied"], place.files()) == ([], True, applied)

    assert place.setup("--revert").exit_code == 0
    assert place.files() == before


@pytest.mark.parametrize("key", ["reinject", "reinject_tls"])
def test_a_port_in_use_is_refused(place: Place, taken: str, key: str) -> None:
    """A port that the admin set and another program uses is refused by its key, and nothing is written."""
    place.set(f'{key} = "{taken}"')
    before = place.files()

    with pytest.raises(
        ConfigError, match=rf"{taken} is in use: name a free port in gatepost\.toml, \[gateway\] {key}$"
    ):
        place.setup("--apply")
    assert place.files() == before


def test_a_port_of_the_third_listener_in_use_is_refused(place: Place, taken: str) -> None:
    """The listeners behind alias expansion count only where they are wanted."""
    place.set(f'behind_notices = "{taken}"')
    assert place.setup("--apply").exit_code == 0

    with pytest.raises(ConfigError, match="behind_notices"):
        place.setup("--apply", "--after-aliases")


def test_over_to_the_other_arrangement_and_back(place: Place) -> None:
    """The arrangement is kept in gatepost.toml, so it need not be named again; either way back is complete."""
    place.setup("--apply")
    ordinary = place.files()

    place.setup("--apply", "--after-aliases")
    assert place.gateway()["aliases"] == "expanded"
    behind = place.files()
    assert b"gatepost-behind" in behind["master.cf"]
    place.setup("--apply")
    assert place.files() == behind

    place.setup("--apply", "--before-aliases")
    assert (place.gateway()["aliases"], place.files()) == ("resolve", ordinary)
    place.setup("--apply", "--after-aliases")
    place.setup("--revert")
    assert place.gateway()["aliases"] == "resolve"
    assert sorted(place.files()) == ["main.cf", "master.cf"]


def test_other_ways_with_aliases_are_kept(place: Place) -> None:
    """Who said that there are no aliases is not taught otherwise by a setup that says nothing of them."""
    place.set('aliases = "none"')

    place.setup("--apply", "--before-aliases")

    assert place.gateway()["aliases"] == "none"


@pytest.mark.parametrize("args", [("--apply", "--revert"), ("--print", "--apply")])
def test_one_thing_at_a_time(place: Place, args: tuple[str, ...]) -> None:
    """Options that exclude one another are wrong usage."""
    assert place.setup(*args).exit_code == 2


def test_a_directory_without_postfix(place: Place) -> None:
    """Where there is no main.cf it is said so."""
    (place.postfix / "main.cf").unlink()

    with pytest.raises(ConfigError, match=r"there is no main\.cf"):
        place.setup("--apply")
