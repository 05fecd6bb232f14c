"""The site's secrets: made once, kept private, never shown."""

import pickle
import stat
from pathlib import Path

import pytest

from gatepost import secrets
from gatepost.crypto import seal
from gatepost.errors import ConfigError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make the secrets of a site."""
    secrets.make(tmp_path / "secrets", "gw.hosp.test")
    return tmp_path / "secrets"


@pytest.mark.parametrize("name", secrets.PAIRS)
def test_halves_belong_together(directory: Path, name: str) -> None:
    """What is wrapped to the public half opens with the private one."""
    private, public = secrets.read(name, directory), secrets.read_public(name, directory)
    assert seal.unwrap(private.reveal(), seal.wrap(public, b"x", b""), b"") == b"x"


def test_only_public_halves_may_be_read_by_others(directory: Path) -> None:
    """Every secret file is for its owner only."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {
        "keys": 0o600,
        "vault": 0o600,
        "client.pem": 0o600,
        "listener.pem": 0o600,
        "keys.pub": 0o644,
        "vault.pub": 0o644,
    }


class TestDatabasePassword:
    """The password of a PostgreSQL database, which a site may have."""

    def test_there_may_be_none(self, directory: Path) -> None:
        """A site whose server believes the system's users needs none."""
        assert secrets.read_password(directory) == ""

    @pytest.mark.parametrize("octets", [b"hush hush\n", b"hush hush"])
    def test_one_line(self, directory: Path, octets: bytes) -> None:
        """It is the file's one line, without the line's end."""
        secrets.write_new(directory / "database", octets, 0o600)
        assert secrets.read_password(directory) == "hush hush"

    def test_as_a_credential(self, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service gets it from systemd, and needs no right to the file."""
        (tmp_path / "database").write_bytes(b"from systemd")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        assert secrets.read_password(directory) == "from systemd"

    @pytest.mark.parametrize("octets", [b"", b"\n", b"two\nlines\n", b"\xff"])
    def test_no_password(self, directory: Path, octets: bytes) -> None:
        """A file that holds none is a fault that says what it should hold."""
        secrets.write_new(directory / "database", octets, 0o600)
        with pytest.raises(ConfigError, match=r"database: holds no password; write it there"):
            secrets.read_password(directory)

    def test_others_may_not_read_it(self, directory: Path) -> None:
        """As for every secret."""
        secrets.write_new(directory / "database", b"hush", 0o644)
        with pytest.raises(ConfigError, match="chmod 600"):
            secrets.read_password(directory)


def test_the_pin_of_tokens(directory: Path) -> None:
    """It is one line; a site that names a module must have it."""
    with pytest.raises(ConfigError, match="pkcs11-pin"):
        secrets.read_pin(directory)
    secrets.write_new(directory / "pkcs11-pin", b"1234\n", 0o600)
    assert secrets.read_pin(directory) == "1234"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_that_others_may_use_is_refused(directory: Path, mode: int) -> None:
    """A secret open to its group or others is a fault of the site, with the command that mends it."""
    (directory / "keys").chmod(mode)
    with pytest.raises(ConfigError, match=r"keys: others than its owner may use this secret; run: chmod 600"):
        secrets.read("keys", directory)


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    """A missing secret tells its file and what to do."""
    with pytest.raises(ConfigError, match=r"vault: this secret cannot be read .*; restore it from a backup"):
        secrets.read("vault", tmp_path)


def test_a_secret_of_a_wrong_size_is_refused(directory: Path) -> None:
    """A truncated secret is told, not used."""
    (directory / "keys").write_bytes(b"x")
    with pytest.raises(ConfigError, match="holds 1 octets instead of 32"):
        secrets.read("keys", directory)


def test_a_credential_wins_over_the_file(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemd credential of the same name is used instead of the file."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "keys").write_bytes(b"k" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert secrets.read("keys", directory).reveal() == b"k" * 32
    assert secrets.locate("client.pem", directory) == directory / "client.pem"


def test_a_secret_is_never_shown() -> None:
    """Neither repr, str, format nor pickle gives a secret's octets away."""
    secret = secrets.Secret(b"top")
    assert {repr(secret), str(secret), f"{secret}"} == {"<secret>"}
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_nothing_is_overwritten(directory: Path) -> None:
    """Secrets are made once: a second making would lock away all that was sealed."""
    before = (directory / "keys").read_bytes()
    with pytest.raises(ConfigError, match=r"keys: exists already"):
        secrets.make(directory, "gw.hosp.test")
    assert (directory / "keys").read_bytes() == before
