"""`gatepost key`: what contradicts itself is wrong usage; without the secret nothing is issued."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gatepost.cli.main import app
from gatepost.errors import ConfigError, DirectoryError


def invoke(config: Path, *args: str) -> Result:
    env = {"GATEPOST_ROOT_WARNED": "1"}
    return CliRunner().invoke(app, ["-c", str(config), *args], env=env, catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Make a site."""
    folder = tmp_path / "site"
    invoke(folder, "init", str(folder), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
    return folder / "gatepost.toml"


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "openpgp", "--for", "hosp.test", "--csr", "-"),
        ("generate", "openpgp", "--for", "hosp.test", "--new-ca"),
        ("generate", "openpgp", "--for", "hosp.test", "--algorithm", "p256"),
        ("generate", "smime", "--for", "hosp.test", "--csr", "-", "--new-ca"),
        ("generate", "smime", "--for", "hosp.test", "--algorithm", "rsa1024"),
        ("export",),
        ("export", "--ca", "hosp.test"),
    ],
)
def test_wrong_usage(config: Path, words: tuple[str, ...]) -> None:
    """Options that do not go together end with status 2, and nothing is made."""
    assert invoke(config, "key", *words).exit_code == 2
    assert json.loads(invoke(config, "key", "list", "--json").stdout) == {"keys": []}


def test_the_secret_is_needed_to_issue(config: Path) -> None:
    """Where it cannot be used nothing is made, and the fault says which file and what to do."""
    secret = config.parent / "secrets" / "keys"
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match=r"keys: others than its owner.*chmod 600"):
        invoke(config, "key", "generate", "smime", "--for", "hosp.test")
    secret.unlink()
    with pytest.raises(ConfigError, match=r"keys: this secret cannot be read.*backup"):
        invoke(config, "key", "generate", "smime", "--for", "hosp.test")

    assert json.loads(invoke(config, "key", "list", "--json").stdout) == {"keys": []}
    with pytest.raises(DirectoryError, match="no authority yet"):
        invoke(config, "key", "export", "--ca")


def test_a_new_authority_issues(config: Path) -> None:
    """The first and the new one differ, and `--ca` gives the one that issues; removing a key of ours is said."""
    texts = []
    for words in ((), ("--new-ca",)):
        made = invoke(config, "key", "generate", "smime", "--for", "hosp.test", "--algorithm", "p256", *words)
        assert made.exit_code == 0
        texts.append(json.loads(invoke(config, "key", "export", "--ca", "--json").stdout)["armored"])

    assert len(set(texts)) == 2
    assert all(text.startswith("-----BEGIN CERTIFICATE-----") for text in texts)
    (old,) = [
        one for one in json.loads(invoke(config, "key", "list", "--json").stdout)["keys"] if not one["current"]
    ]
    removed = invoke(config, "key", "remove", old["fingerprint"])
    assert (removed.exit_code, "opened no longer" in removed.stderr) == (0, True)
