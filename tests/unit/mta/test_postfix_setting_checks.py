"""
Settings of Postfix that undo what Gatepost does: each is told, and its remedy, followed to the letter, mends it.
"""

import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gatepost.crypto import selfsigned
from gatepost.message.direction import Site
from gatepost.mta.finding import Finding, Status
from gatepost.mta.postfix import files, setting_checks
from gatepost.mta.postfix.gate import Behind, Gate
from gatepost.mta.postfix.mastercf import services_of

pytestmark = [pytest.mark.real, pytest.mark.skipif(shutil.which("postconf") is None, reason="lacks Postfix")]

_MAIN = """\
compatibility_level = 3.6
myhostname = mail.near.test
mydestination = near.test
forward_path =
allow_percent_hack = no
swap_bangpath = no
smtpd_forbid_bare_newline = normalize
message_strip_characters = \\0
message_size_limit = 1000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_maps = inline:{a=b}
"""
_MASTER = "smtp inet n - n - - smtpd\nrewrite unix - - n - - trivial-rewrite\n"
_SITE = Site(frozenset({"near.test"}))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    client = tmp_path / "client.pem"
    client.write_bytes(selfsigned.client("gw.test"))
    return Gate("unix:/g", "unix:/p", "127.0.0.1:10025", "127.0.0.1:10027", client, client)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "postfix"
    folder.mkdir()
    (folder / "main.cf").write_text(_MAIN)
    (folder / "master.cf").write_text(_MASTER)
    return folder


def _found(directory: Path, gate: Gate) -> list[Finding]:
    current = files.read_configuration(directory)
    values = current.values(setting_checks.PARAMETERS, expand=True)
    services = services_of(current.master)
    checked = setting_checks.setting_checks(directory, values, services, gate, _SITE)
    return [one for one in checked if one.status is not Status.OK]


def _follow(remedy: str) -> None:
    """Do what a remedy says, its reload left out."""
    for command in re.findall(r"`(postconf [^`]+)`", remedy):
        subprocess.run(shlex.split(command), check=True, timeout=30)


def test_nothing_is_found_where_all_is_well(directory: Path, gate: Gate) -> None:
    """A Postfix as it should be gives no finding."""
    assert _found(directory, gate) == []


@pytest.mark.parametrize(
    ("setting", "status"),
    [
        ("always_bcc = a@far.test", Status.FAIL),
        ("sender_bcc_maps = inline:{a=b}", Status.FAIL),
        ("recipient_bcc_maps = inline:{a=b}", Status.FAIL),
        ("enable_original_recipient = no", Status.FAIL),
        ("milter_default_action = accept", Status.FAIL),
        ("milter_default_action = quarantine", Status.FAIL),
        ("smtpd_forbid_bare_newline = no", Status.FAIL),
        ("message_strip_characters =", Status.WARN),
        ("message_strip_characters = \\1", Status.WARN),
        ("smtputf8_enable = no", Status.WARN),
        ("mailbox_size_limit = 999999", Status.FAIL),
        ("virtual_mailbox_limit = 999999", Status.FAIL),
        ("forward_path = $home/.forward", Status.FAIL),
        ("luser_relay = a@far.test", Status.FAIL),
    ],
)
def test_a_setting_is_told_and_mended_by_its_remedy(
    directory: Path, gate: Gate, setting: str, status: Status
) -> None:
    """Each setting alone gives one finding that names it; after its remedy there is none."""
    with (directory / "main.cf").open("a") as main:
        main.write(f"{setting}\n")

    (found,) = _found(directory, gate)
    assert found.status is status
    assert status is Status.WARN or found.what.startswith(setting.partition(" ")[0])
    _follow(found.remedy)

    assert _found(directory, gate) == []


def test_a_limit_of_mailboxes_that_are_not_here(directory: Path, gate: Gate) -> None:
    """Where nothing is delivered into mailboxes here, their limits are nobody's concern."""
    with (directory / "main.cf").open("a") as main:
        main.write("virtual_mailbox_maps =\nvirtual_mailbox_limit = 1\n")

    assert _found(directory, gate) == []


@pytest.mark.parametrize("name", ["allow_percent_hack", "swap_bangpath"])
def test_a_route_in_a_services_option(directory: Path, gate: Gate, name: str) -> None:
    """A service that reads routes in addresses is told; the remedy takes its option out."""
    (directory / "master.cf").write_text(f"{_MASTER}lost unix - - n - - trivial-rewrite -o {name}=yes\n")

    (found,) = _found(directory, gate)
    _follow(found.remedy)

    assert _found(directory, gate) == []


class TestBehindAliases:
    @pytest.fixture
    def behind(self, gate: Gate) -> Gate:
        """Put Gatepost behind alias expansion."""
        return replace(gate, behind=Behind("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"))

    def test_copies_are_judged(self, directory: Path, behind: Gate) -> None:
        """Whom Postfix adds is judged like any other, so it may."""
        with (directory / "main.cf").open("a") as main:
            main.write("always_bcc = a@far.test\n")

        assert _found(directory, behind) == []

    @pytest.mark.parametrize(
        ("setting", "line"),
        [
            ("header_checks = regexp:{}", "/^X-Scan/ FILTER scan:[127.0.0.1]:10024"),
            ("body_checks = pcre:{}", "/x/ filter scan:"),
            ("smtpd_client_restrictions = check_client_access cidr:{}, permit", "10.0.0.0/8 FILTER scan:dummy"),
        ],
    )
    def test_a_filter_in_a_table_takes_mail_past_us(
        self, directory: Path, behind: Gate, setting: str, line: str
    ) -> None:
        """Where the last FILTER wins, another one than ours is a failure; without it all is well."""
        table = directory / "table"
        table.write_text(f"{line}\n")
        with (directory / "main.cf").open("a") as main:
            main.write(setting.format(table) + "\n")

        (found,) = _found(directory, behind)
        assert (found.status, str(table) in found.what) == (Status.FAIL, True)
        table.write_text("/^X-Scan/ WARN\n")
        assert _found(directory, behind) == []
