"""`gatepost explain` says what the milter would do, refusals included."""

import json
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


def test_no_service_needs_to_run(config: str) -> None:
    """A partner's TLS is told although no policy service answers: the command looks up itself."""
    path = Path(config)
    path.write_text(path.read_text() + '\n[dns]\nresolvers = ["127.0.0.1#1"]\ntimeout = 0.5\n')
    invoke(
        "-c",
        config,
        "partner",
        "add",
        "far.test",
        "--demand",
        "tls",
        "--tls",
        "verify",
        "--nexthop",
        "mx.far.test",
    )

    done = invoke("-c", config, "--json", "explain", "--from", "bob@hosp.test", "--to", "ann@far.test")

    assert json.loads(done.stdout)["recipients"][0]["treatment"] == "tls"


def test_a_look_up_that_fails_puts_the_message_off(config: str) -> None:
    """A demand for TLS to a domain that no resolver answers for is put off, and says so."""
    path = Path(config)
    path.write_text(path.read_text() + '\n[dns]\nresolvers = ["127.0.0.1#1"]\ntimeout = 0.5\n')
    invoke("-c", config, "partner", "add", "far.test", "--demand", "tls")

    done = invoke("-c", config, "--json", "explain", "--from", "bob@hosp.test", "--to", "ann@far.test")

    told = json.loads(done.stdout)
    assert told["verdict"] == "tempfail"
    assert "far.test" in " ".join(told["recipients"][0]["reasons"])
