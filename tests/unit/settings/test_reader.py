"""gatepost.toml: defaults, every fault at once, paths."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.errors import ConfigError
from gatepost.settings import Settings, read, rendered

MINIMAL = '[gateway]\ninternal_domains = ["hosp.test"]\n'
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a settings file."""

    def write(text: str) -> Path:
        path = tmp_path / "gatepost.toml"
        path.write_text(text)
        return path

    return write


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(path)
    return [fault.removeprefix(f"{path}: ") for fault in refused.value.faults]


@pytest.mark.parametrize(
    "url",
    ["postgres://gatepost:secret-word@h/d", "postgresql://h/d?password=secret-word", "mysql://x:secret-word@h"],
)
def test_a_wrong_database_url_shows_no_password(write: Write, url: str) -> None:
    """What is wrong with a URL is told without its password."""
    (fault,) = faults(write(f'{MINIMAL}[database]\nurl = "{url}"\n'))

    assert fault.startswith("[database] url: ")
    assert "postgresql+psycopg://" in fault
    assert "secret-word" not in fault


def test_only_the_internal_domains_have_no_default(write: Write) -> None:
    """One key makes a site; all others have defaults."""
    settings = read(write(MINIMAL))
    assert settings.ladder.encrypt == ("smime", "openpgp", "securedoc", "pickup")
    assert settings.gateway.max_seconds == 90
    assert settings.admin == "postmaster@hosp.test"
    assert faults(write("")) == ["[gateway]: is missing; it has no default"]


def test_every_fault_is_told_at_once(write: Write) -> None:
    """Unknown keys, wrong types and wrong values are told together, each with section, key and what is allowed."""
    found = faults(
        write(
            '[gateway]\ninternal_domain = ["a.test"]\nno_rung = "drop"\n[keys]\nmin_trust = "wdk"\n'
            '[vault]\nkeep_days = "x"\n[foo]\na = 1\n'
        )
    )
    assert found == [
        "[gateway] internal_domains: is missing; it has no default",
        "[gateway] no_rung: 'drop'; allowed: 'quarantine' or 'reject'",
        '[gateway] internal_domain: is unknown; did you mean "internal_domains"?',
        '[keys] min_trust: "wdk" is no trust; allowed: admin, dnssec, wkd, ca, keyserver, harvested',
        "[vault] keep_days: 'x'; allowed: a whole number",
        "[foo]: is unknown; allowed: " + ", ".join(Settings.model_fields),
    ]


@pytest.mark.parametrize("rung", ["tls", "pass", "quarantine", "pgp"])
def test_the_encrypt_ladder_takes_only_what_encrypts(write: Write, rung: str) -> None:
    """A rung that does not encrypt the message cannot meet the demand `encrypt`."""
    (fault,) = faults(write(f'{MINIMAL}[ladder]\nencrypt = ["openpgp", "{rung}"]\n'))
    assert fault.startswith(f'[ladder] encrypt: "{rung}"')
    assert "allowed: openpgp, pdf, pickup, securedoc, smime" in fault


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("gateway", 'socket = "/milter.sock"'),
        ("gateway", 'socket = "inet:0@localhost"'),
        ("gateway", f'socket = "unix:/{"x" * 108}"'),
        ("gateway", 'reinject = "10025"'),
        ("gateway", 'reinject = "127.0.0.1:70000"'),
        ("gateway", 'internal_networks = ["10.0.0.1/8"]'),
        ("gateway", 'hostname = "gw_-.hosp..test"'),
        ("gateway", "max_seconds = 0"),
        ("gateway", 'authserv_id = "a; b"'),
        ("gateway", 'trusted_authserv_ids = ["a b"]'),
        ("keys", 'socket = "inet:99@localhost"'),
        ("database", 'url = "mysql://x"'),
        ("vault", 'url = "/var/vault"'),
        ("vault", 'url = "s3://bucket/prefix"'),
        ("dns", 'resolvers = ["localhost"]'),
        ("dns", 'resolvers = ["127.0.0.0/8"]'),
        ("openpgp", 'engine = "pgp"'),
        ("ladder", "tls = []"),
        ("ladder", 'tls = ["tls", "tls"]'),
    ],
)
def test_a_wrong_value_is_refused(write: Write, section: str, line: str) -> None:
    """Each kind of value is checked before any socket is opened; the fault names the key."""
    text = f"{MINIMAL}{line}\n" if section == "gateway" else f"{MINIMAL}[{section}]\n{line}\n"
    (fault,) = faults(write(text))
    assert fault.startswith(f"[{section}] {line.split(' ', maxsplit=1)[0]}: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{MINIMAL}inside_listeners = 'smtp'", "inside_listeners: 'smtp'; allowed: a list, such as"),
        (f"{MINIMAL}inside_listeners = [1]", "inside_listeners: 1; allowed: text in quotes"),
        (f"{MINIMAL}no_rung = 'drop'", "no_rung: 'drop'; allowed: 'quarantine' or 'reject'"),
        ("[gateway]\ninternal_domains = []", "internal_domains: []; allowed: at least one entry"),
        ("gateway = 5", "[gateway]: 5; allowed: a section in brackets"),
    ],
)
def test_faults_are_told_in_the_words_of_the_file(write: Write, text: str, told: str) -> None:
    """An admin reads what TOML calls it, and nothing of our types."""
    (fault,) = faults(write(text))
    assert fault.removeprefix("[gateway] ").startswith(told)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('outside_listeners = ["smtp", "submission"]', "both name submission"),
        ('reinject = "127.0.0.1:10027"', "are both 127.0.0.1:10027"),
    ],
)
def test_values_that_contradict_each_other_are_refused(write: Write, line: str, told: str) -> None:
    """A listener is inside or outside; copies for verified TLS have a listener of their own."""
    (fault,) = faults(write(f"{MINIMAL}{line}\n"))
    assert fault.startswith("[gateway]: ")
    assert told in fault


def test_a_vault_in_object_storage_is_refused(write: Write) -> None:
    """What is not built yet is told when the settings are read, with what to use."""
    (fault,) = faults(write(f'{MINIMAL}[vault]\nurl = "s3://bucket/prefix"\n'))
    assert "not built yet" in fault
    assert "file:///" in fault


def test_a_wrong_domain_is_one_fault(write: Write) -> None:
    """A list whose only entry is wrong is not also called too short."""
    assert len(faults(write('[gateway]\ninternal_domains = ["hosp test"]\n'))) == 1


def test_relative_paths_start_at_the_file(write: Write, tmp_path: Path) -> None:
    """A relative path is relative to the file's directory, in URLs and sockets too."""
    settings = read(
        write(
            f'{MINIMAL}spool = "spool"\nsocket = "unix:run/m"\n[database]\nurl = "sqlite:///a.db"\n'
            '[vault]\nurl = "file://vault"\n[secrets]\ndirectory = "s"\n'
        )
    )
    assert settings.gateway.spool == tmp_path / "spool"
    assert settings.gateway.socket == f"unix:{tmp_path}/run/m"
    assert settings.database.url == f"sqlite:///{tmp_path}/a.db"
    assert settings.vault.url == f"file://{tmp_path}/vault"
    assert settings.secrets.directory == tmp_path / "s"


def test_a_file_that_cannot_be_read_is_named(write: Write, tmp_path: Path) -> None:
    """A missing file and a broken one are told with the file's name and the place."""
    assert faults(write("[gateway")) != []
    missing = tmp_path / "none.toml"
    assert "no such file" in faults(missing)[0]


def test_settings_are_frozen(write: Write) -> None:
    """Nothing changes a setting after start."""
    settings = read(write(MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        settings.gateway.hostname = "x"  # type: ignore[misc]


def test_effective_values_can_be_printed(write: Write) -> None:
    """The effective values are plain data, defaults included."""
    shown = rendered(read(write(MINIMAL)))
    assert shown["quarantine"] == {"keep_days": 7}
