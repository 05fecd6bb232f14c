"""The certificate that Postfix must know."""

from pathlib import Path

import pytest

from gatepost.cli.main import app
from gatepost.errors import ConfigError
from gatepost.mta.postfix.gate import fingerprint


@pytest.mark.parametrize(("text", "said"), [("nothing", "holds no certificate"), (None, "cannot be read")])
def test_a_fault_names_what_works(tmp_path: Path, text: str | None, said: str) -> None:
    """A file that is missing or holds no certificate is named, with commands that exist."""
    file = tmp_path / "client.pem"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ConfigError, match=f"client.pem: {said}") as caught:
        fingerprint(file)

    commands = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    groups = {one.name for one in app.registered_groups}
    named = [part.split()[1] for part in str(caught.value).split("`")[1::2]]
    assert named == ["init", "setup"]
    assert set(named) <= commands | groups
