"""`gatepost explain` says what the milter would do, refusals included."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gatepost.cli.main import app
from gatepost.errors import AddressError


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Make a site without aliases."""
    invoke("init", str(tmp_path / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
    path = tmp_path / "site" / "gatepost.toml"
    path.write_text(path.read_text().replace("[gateway]\n", '[gateway]\naliases = "none"\n'))
    return str(path)


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        ("ann%far.test@hosp.test", "names a route"),
        ("<@a.test:ann@far.test>", "not plainly"),
        ("<>", "is empty"),
    ],
)
def test_a_recipient_that_the_milter_refuses(config: str, recipient: str, said: str) -> None:
    """What would be refused at RCPT has no plan: the error names the recipient and the reason."""
    arguments = ("-c", config, "explain", "--from", "bob@hosp.test", "--to", "eve@out.test", "--to", recipient)

    with pytest.raises(AddressError, match=f"the milter would refuse the recipient .*{said}"):
        invoke(*arguments)


def test_others_have_their_plan(config: str) -> None:
    """A recipient that is taken is decided about."""
    done = invoke("-c", config, "explain", "--from", "bob@hosp.test", "--to", "ann%x@far.test")

    assert done.exit_code == 0
    assert "verdict: accept" in done.stdout


def test_a_client_is_an_ip_address(config: str) -> None:
    """What is no IP address is wrong usage, not an outside client."""
    done = invoke(
        "-c", config, "explain", "--from", "bob@hosp.test", "--to", "ann@far.test", "--client", "far.test"
    )

    assert done.exit_code == 2
    assert "'far.test' is no IP address" in done.output
