"""
The systemd units: accepted by systemd, and as strict as promised.
"""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from gatepost import systemd as package

pytestmark = pytest.mark.real

FOLDER = Path(str(package.__file__)).parent
SERVICES = [
    "gatepost-keys.service",
    "gatepost-milter.service",
    "gatepost-policy.service",
    "gatepost-deliveries.service",
]
STRICT = [
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "SystemCallFilter=@system-service",
    "SystemCallArchitectures=native",
    "Type=notify",
]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copy the units, with a program that is there on any machine."""
    for unit in FOLDER.glob("gatepost*.*"):
        text = unit.read_text().replace("/usr/bin/gatepost", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class TestUnits:
    def test_verify_is_clean(self, units: Path) -> None:
        """
        systemd-analyze verify has nothing to say about any unit.
        """
        done = _run("systemd-analyze", "verify", *sorted(units.glob("*.service")), units / "gatepost.target")

        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("service", "most"), [(SERVICES[0], 0.8), (SERVICES[1], 1.5), (SERVICES[2], 1.5), (SERVICES[3], 1.0)]
    )
    def test_exposure_is_low(self, units: Path, service: str, most: float) -> None:
        """
        The score that systemd gives for what a service could do stays low; the key worker's is the lowest.
        """
        done = _run("systemd-analyze", "security", "--offline=yes", units / service)

        score = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
        assert score is not None, done.stderr
        assert float(score[1]) <= most

    @pytest.mark.parametrize("service", SERVICES)
    def test_sandbox_is_whole(self, service: str) -> None:
        """
        No service lacks a line of the strict list.
        """
        lines = (FOLDER / service).read_text().splitlines()

        assert [line for line in STRICT if line not in lines] == []

    def test_each_process_has_its_user(self) -> None:
        """
        No two services share a user, and none is root.
        """
        users = []
        for service in SERVICES:
            parser = configparser.ConfigParser(strict=False, interpolation=None)
            parser.read(FOLDER / service)
            users.append(parser["Service"]["User"])

        assert len(set(users) - {"root"}) == len(SERVICES)

    def test_only_the_key_worker_is_given_private_keys(self) -> None:
        """
        The secrets `keys` and `vault` are handed to the key worker alone, which has no network.
        """
        texts = {service: (FOLDER / service).read_text() for service in SERVICES}

        given = [service for service, text in texts.items() if re.search(r"LoadCredential=(keys|vault):", text)]
        assert given == ["gatepost-keys.service"]
        assert "PrivateNetwork=yes" in texts["gatepost-keys.service"]

    def test_users_can_be_made(self, tmp_path: Path) -> None:
        """
        systemd-sysusers reads the users' file and makes all of them.
        """
        (tmp_path / "etc").mkdir()

        done = _run("systemd-sysusers", f"--root={tmp_path}", FOLDER / "gatepost.sysusers.conf")

        assert done.returncode == 0, done.stderr
        passwd = (tmp_path / "etc" / "passwd").read_text()
        assert all(
            f"{user}:" in passwd
            for user in ("gatepost", "gatepost-keys", "gatepost-policy", "gatepost-deliveries")
        )
