"""The doctor knows whether Postfix takes mail for the service address, by its own tables."""

from pathlib import Path

import pytest

from gatepost.mta.finding import Finding, Status
from gatepost.mta.postfix.service_checks import service_address_checks

pytestmark = pytest.mark.real

ADDRESS = "decrypt@hosp.test"
RELAY = {"relay_domains": "hosp.test", "relay_recipient_maps": "inline:{a@hosp.test=x}"}


def found(folder: Path, setting: str = "resolve", **main: str) -> list[Finding]:
    """Examine a Postfix with these settings."""
    (folder / "master.cf").write_text("")
    settings = {"compatibility_level": "3.6", "myhostname": "mail.hosp.test", "mydestination": ""} | main
    (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return list(service_address_checks(folder, setting, {ADDRESS}))


@pytest.mark.parametrize(
    "main",
    [
        {"relay_domains": "hosp.test"},
        {"relay_domains": "inline:{hosp.test=x}", "relay_recipient_maps": "inline:{decrypt@hosp.test=x}"},
        {
            "relay_domains": "hosp.test",
            "relay_recipient_maps": "inline:{a=x}",
            "virtual_alias_maps": "inline:{decrypt@hosp.test=x}",
        },
        {"virtual_mailbox_domains": "hosp.test", "virtual_mailbox_maps": "inline:{@hosp.test=x}"},
        {"mydestination": "hosp.test", "local_recipient_maps": ""},
        {"mydestination": "hosp.test", "local_recipient_maps": "$alias_maps", "alias_maps": "inline:{decrypt=x}"},
        {"mydestination": "hosp.test", "smtpd_reject_unlisted_recipient": "no"},
    ],
)
def test_taken(tmp_path: Path, main: dict[str, str]) -> None:
    """Named in the table of its class, or in one of aliases, or where nothing is asked."""
    (finding,) = found(tmp_path, **main)
    assert finding.status is Status.OK


@pytest.mark.parametrize(
    "main",
    [
        {},
        RELAY,
        {"virtual_mailbox_domains": "hosp.test", "virtual_mailbox_maps": "inline:{decrypt=x}"},
        {"mydestination": "hosp.test", "alias_maps": "inline:{someone=x}"},
    ],
)
def test_refused(tmp_path: Path, main: dict[str, str]) -> None:
    """Where no table names it the doctor warns, and says what to add."""
    (finding,) = found(tmp_path, **main)
    assert finding.status is Status.WARN
    assert "virtual_alias_maps" in finding.remedy
    (behind,) = found(tmp_path, "expanded", **main)
    assert "relay_recipient_maps" in behind.remedy


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    """A table that cannot be asked fails in one line."""
    (finding,) = found(tmp_path, virtual_alias_maps="texthash:/nowhere/table")
    assert finding.status is Status.FAIL
    assert "/nowhere/table" in finding.remedy


def test_switched_off(tmp_path: Path) -> None:
    """Without a service address nothing is checked."""
    assert list(service_address_checks(tmp_path, "resolve", ())) == []
