"""Gatepost behind alias expansion: what setup writes, what it refuses, and how it is left again."""

import shutil
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gatepost.crypto import selfsigned
from gatepost.errors import ConfigError
from gatepost.message.direction import Site
from gatepost.mta.postfix import changes, checks, files
from gatepost.mta.postfix.behind import parted
from gatepost.mta.postfix.gate import Behind, Gate
from gatepost.mta.postfix.mastercf import services_of

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("postconf") is None, reason="lacks Postfix")]

_MAIN = "compatibility_level = 3.6\nmyhostname = mail.near.test\nqueue_directory = /var/spool/postfix\n"
_MASTER = """\
smtp inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes
submission inet n - n - - smtpd
2525 inet n - n - - smtpd -o milter_macro_daemon_name=fetched
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
"""
_INSIDE, _OUTSIDE = "gatepost-behind:[127.0.0.1]:10029", "gatepost-behind:[127.0.0.1]:10031"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    client = tmp_path / "client.pem"
    client.write_bytes(selfsigned.client("gw.test"))
    return Gate(
        milter_socket="unix:/run/gp/milter.sock",
        policy_socket="unix:/run/gp/policy.sock",
        reinject="127.0.0.1:10025",
        reinject_tls="127.0.0.1:10027",
        listener_pem=client,
        client_pem=client,
        site=Site(
            frozenset({"near.test"}),
            (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")),
            frozenset({"submission"}),
            frozenset({"fetched"}),
        ),
        behind=Behind("127.0.0.1:10029", "127.0.0.1:10031", "127.0.0.1:10033"),
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "postfix"
    folder.mkdir()
    (folder / "main.cf").write_text(_MAIN)
    (folder / "master.cf").write_text(_MASTER)
    return folder


def _applied(directory: Path, gate: Gate) -> dict[str, dict[str, str]]:
    """Apply, twice with the same result, and give each service's options."""
    for _ in range(2):
        planned, _ = changes.to_apply(directory, gate)
        files.write(planned)
    assert all(change.before == change.after for change in changes.to_apply(directory, gate)[0])
    services = services_of((directory / "master.cf").read_text())
    return {f"{one.name} {one.command}": one.options for one in services}


def test_each_side_has_its_listener(directory: Path, gate: Gate) -> None:
    """Mail goes to the listener of its side: by the entrance, else by the client's network and login."""
    services = _applied(directory, gate)

    login = f"check_sasl_access static:{{FILTER {_INSIDE}}}"
    network = "check_client_access cidr:$config_directory/gatepost-inside.cidr"
    smtp = services["smtp smtpd"]
    assert (smtp["content_filter"], smtp["smtpd_data_restrictions"]) == (_OUTSIDE, f"{network}, {login}")
    assert services["submission smtpd"]["content_filter"] == _INSIDE
    assert "smtpd_data_restrictions" not in services["submission smtpd"]
    assert services["2525 smtpd"]["content_filter"] == _OUTSIDE
    assert "smtpd_data_restrictions" not in services["2525 smtpd"]
    assert services["pickup pickup"]["content_filter"] == _INSIDE
    table = (directory / "gatepost-inside.cidr").read_text().splitlines()[1:]
    assert table == [f"127.0.0.0/8 FILTER {_INSIDE}", f"10.0.0.0/8 FILTER {_INSIDE}"]


def test_the_admins_restrictions_come_after(directory: Path, gate: Gate) -> None:
    """What the admin checks at DATA is checked as before, behind what tells the sides apart."""
    with (directory / "main.cf").open("a") as main:
        main.write("smtpd_data_restrictions = reject_unauth_pipelining\n")

    options = _applied(directory, gate)["smtp smtpd"]
    assert options["smtpd_data_restrictions"].endswith(", reject_unauth_pipelining")


def test_milters_part_at_gateposts_place(directory: Path, gate: Gate) -> None:
    """Milters before Gatepost's place stay where clients are seen, those behind it run on the listeners."""
    with (directory / "main.cf").open("a") as main:
        main.write("smtpd_milters = inet:spf:1, $gatepost_milter, inet:sign:2\n")

    services = _applied(directory, gate)
    configuration = files.read_configuration(directory)
    assert configuration.values(["smtpd_milters"], expand=False)["smtpd_milters"] == "inet:spf:1"
    for port in ("10029", "10031"):
        assert services[f"127.0.0.1:{port} smtpd"]["smtpd_milters"] == "$gatepost_milter inet:sign:2"
    assert services["127.0.0.1:10025 smtpd"]["smtpd_milters"] == "inet:sign:2"


@pytest.mark.parametrize(
    ("main", "master", "said"),
    [
        ("smtpd_milters = inet:sign:2\n", "", "write $gatepost_milter into that list"),
        ("content_filter = a:b\n", "", "the filter a:b hands mail on already"),
        ("receive_override_options = no_address_mappings\n", "", "no alias is expanded there"),
        ("", "2526 inet n - n - - smtpd -o smtpd_milters=$gatepost_milter,inet:x:1\n", "name the same milters"),
    ],
)
def test_what_stands_against_it(directory: Path, gate: Gate, *, main: str, master: str, said: str) -> None:
    """Where it could not work it is refused with what to do, and nothing is written."""
    (directory / "main.cf").write_text(_MAIN + main)
    (directory / "master.cf").write_text(_MASTER + master)

    with pytest.raises(ConfigError) as refused:
        changes.to_apply(directory, gate)
    assert said in str(refused.value)


def test_taking_back_gives_the_admins_bytes(directory: Path, gate: Gate) -> None:
    """Reverting, and going over to the other arrangement and back, leaves nothing behind."""
    _applied(directory, gate)
    other = replace(gate, behind=None)
    assert "content_filter" not in _applied(directory, other)["smtp smtpd"]
    assert not (directory / "gatepost-inside.cidr").exists()
    _applied(directory, gate)

    files.write(changes.to_revert(directory))

    assert (directory / "main.cf").read_text() == _MAIN
    assert (directory / "master.cf").read_text() == _MASTER
    assert sorted(file.name for file in directory.iterdir()) == ["main.cf", "master.cf"]


def test_every_way_in_passes(directory: Path, gate: Gate) -> None:
    """Each entrance passes Gatepost behind the queue; one whose filter is taken off does not."""
    _applied(directory, gate)
    assert {way.passes for way in checks.ways_in(directory, gate)} == {"yes"}

    with (directory / "master.cf").open("a") as master:
        master.write("26 inet n - n - - smtpd\n")
    assert {way.listener: way.passes for way in checks.ways_in(directory, gate)}["26"] == "no"


@pytest.mark.parametrize(
    ("milters", "before", "after"),
    [
        ("", "", ""),
        ("inet:a:1", "inet:a:1", ""),
        ("$gatepost_milter", "", ""),
        ("inet:a:1 ${gatepost_milter}, inet:b:2", "inet:a:1", "inet:b:2"),
        ("$gatepost_milter_x inet:a:1", "$gatepost_milter_x inet:a:1", ""),
    ],
)
def test_parted(milters: str, before: str, after: str) -> None:
    """A list parts at Gatepost's place alone."""
    assert parted(milters) == (before, after)
