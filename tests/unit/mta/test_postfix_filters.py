"""Filters that come before Gatepost: supported where the port tells each side apart, refused everywhere else."""

import shutil
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gatepost.crypto import selfsigned
from gatepost.errors import ConfigError
from gatepost.message.direction import Site
from gatepost.mta.postfix import changes, checks, files
from gatepost.mta.postfix.filters import SUPPORTED
from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import services_of

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("postconf") is None, reason="lacks Postfix")]

_MAIN = "compatibility_level = 3.6\nmyhostname = mail.near.test\nqueue_directory = /var/spool/postfix\n"
_OUT, _COME = "-o content_filter=scan:[127.0.0.1]:10040", "-o content_filter=scan:[127.0.0.1]:10042"
_BACK_OUT = "127.0.0.1:10041 inet n - n - - smtpd -o content_filter= -o milter_macro_daemon_name=back-out\n"
_BACK_IN = "127.0.0.1:10043 inet n - n - - smtpd -o content_filter= -o milter_macro_daemon_name=back-in\n"
_GOOD = (
    f"smtp inet n - n - - smtpd {_COME}\nsubmission inet n - n - - smtpd {_OUT}\n"
    f"pickup unix n - n 60 1 pickup {_OUT}\n"
    "cleanup unix n - n - 0 cleanup\n" + _BACK_OUT + _BACK_IN
)
_SITE = Site(
    frozenset({"near.test"}),
    (ip_network("127.0.0.0/8"),),
    inside_listeners=frozenset({"submission", "back-out"}),
    outside_listeners=frozenset({"smtp", "back-in"}),
)


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
        site=_SITE,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "postfix"
    folder.mkdir()
    (folder / "main.cf").write_text(_MAIN)
    (folder / "master.cf").write_text(_GOOD)
    return folder


def _refused(directory: Path, gate: Gate) -> str:
    before = (directory / "master.cf").read_bytes()
    with pytest.raises(ConfigError) as refused:
        changes.to_apply(directory, gate)
    assert (directory / "master.cf").read_bytes() == before
    return str(refused.value)


def test_what_has_a_filter_is_left_without_gatepost(directory: Path, gate: Gate) -> None:
    """Entrances with a filter keep the admin's milters and cleanup; what takes mail back gets Gatepost."""
    (directory / "main.cf").write_text(f"{_MAIN}smtpd_milters = inet:verify:1 $gatepost_milter inet:sign:2\n")
    planned, _ = changes.to_apply(directory, gate)
    files.write(planned)

    services = {one.name: one.options for one in services_of((directory / "master.cf").read_text())}
    for name in ("smtp", "submission"):
        assert services[name]["smtpd_milters"].split() == ["inet:verify:1", "inet:sign:2"]
        assert "cleanup_service_name" not in services[name]
    assert services["pickup"]["non_smtpd_milters"] == ""
    for name in ("127.0.0.1:10041", "127.0.0.1:10043"):
        assert "smtpd_milters" not in services[name]
        assert services[name]["cleanup_service_name"] == "gatepost-cleanup"
    assert services["127.0.0.1:10025"]["content_filter"] == ""
    assert {way.passes for way in checks.ways_in(directory, gate)} == {"yes"}
    assert changes.to_apply(directory, gate)[0] == [
        replace(change, before=change.after) for change in changes.to_apply(directory, gate)[0]
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (_BACK_IN, "", "no smtpd on loopback named in outside_listeners takes back"),
        (_BACK_OUT, "", "no smtpd on loopback named in inside_listeners takes back"),
        ("127.0.0.1:10043", "10043", "no smtpd on loopback named in outside_listeners takes back"),
        ("back-in", "whose", "may take back mail of both sides: its listener whose is named on neither side"),
        (
            _COME,
            _OUT,
            "filter scan:[127.0.0.1]:10040 is not supported so: it takes mail from inside and mail from outside",
        ),
        (
            "submission inet",
            "2525 inet",
            "service 2525 (smtpd): the filter scan:[127.0.0.1]:10040 is not supported so",
        ),
        (_BACK_IN, _BACK_IN[:-1] + " -o receive_override_options=no_milters\n", "no_milters passes Gatepost by"),
        (_BACK_IN, _BACK_IN[:-1] + " -o smtpd_milter_maps=inline:{x=DISABLE}\n", "smtpd_milter_maps can take"),
    ],
)
def test_where_mail_could_pass_by_or_change_sides(
    directory: Path, gate: Gate, *, before: str, after: str, said: str
) -> None:
    """Each thing that the supported arrangement asks for is refused when it is missing, and nothing is written."""
    assert before in _GOOD
    (directory / "master.cf").write_text(_GOOD.replace(before, after))

    assert said in _refused(directory, gate)


def test_a_filter_for_both_sides_is_refused_with_what_is_supported(directory: Path, gate: Gate) -> None:
    """One filter for all mail in main.cf is refused; the words end with both supported arrangements."""
    (directory / "main.cf").write_text(f"{_MAIN}content_filter = amavis:[127.0.0.1]:10024\n")
    (directory / "master.cf").write_text("smtp inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\n")

    assert _refused(directory, gate).endswith(SUPPORTED)


def test_gatepost_before_a_filter_is_refused(directory: Path, gate: Gate) -> None:
    """A listener that takes mail back without Gatepost, exempt or not, leaves nothing that mail passes by."""
    exempt = replace(gate, exempt=("back-out", "back-in"))

    assert "takes back what the filter hands on" in _refused(directory, exempt)


def test_the_doctor_sees_a_way_back_that_lost_gatepost(directory: Path, gate: Gate) -> None:
    """Where what takes mail back has no milter of ours, it fails, and so does all that comes to it by a filter."""
    planned, _ = changes.to_apply(directory, gate)
    files.write(planned)
    master = (directory / "master.cf").read_text()
    (directory / "master.cf").write_text(master.replace("name=back-in\n", "name=back-in -o smtpd_milters=\n"))

    passes = {way.listener: way.passes for way in checks.ways_in(directory, gate)}
    assert passes["back-out"] == "yes"
    assert {passes[one] for one in ("back-in", "smtp", "submission")} == {"no"}
