"""The doctor knows whether aliases can be followed, and says when they are not."""

from pathlib import Path

import pytest

from gatepost.mta.finding import Finding, Status
from gatepost.mta.postfix.alias_checks import alias_checks

pytestmark = pytest.mark.real


def found(folder: Path, setting: str = "resolve", **main: str) -> list[Finding]:
    """Examine a Postfix with these settings; hosp.test is inside."""
    (folder / "master.cf").write_text("")
    settings = {"compatibility_level": "3.6", "myhostname": "mail.hosp.test", "alias_maps": ""}
    settings |= {"mydestination": ""} | main
    (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return list(alias_checks(folder, setting, ["hosp.test"]))


def test_no_tables(tmp_path: Path) -> None:
    """Nothing to follow is well; alias_maps count only where local(8) serves an internal domain."""
    for main in ({}, {"alias_maps": "hash:/nowhere/table", "mydestination": "mail.hosp.test"}):
        (finding,) = found(tmp_path, **main)
        assert finding.status is Status.OK


@pytest.mark.parametrize(
    ("table", "status"), [("inline:{a=b}", Status.OK), ("texthash:/nowhere/table", Status.FAIL)]
)
def test_each_table_is_tried(tmp_path: Path, table: str, status: Status) -> None:
    """A table that cannot be asked fails, with what postmap says."""
    both = found(tmp_path, virtual_alias_maps=table, alias_maps=table, mydestination="hosp.test")

    assert [(f"aliases in {table}", status)] * 2 == [(one.what, one.status) for one in both]
    assert status is Status.OK or "/nowhere/table" in both[0].remedy


def test_a_domain_delivered_here_that_counts_as_outside(tmp_path: Path) -> None:
    """Aliases to local names work as expected only where their domain is inside."""
    findings = found(tmp_path, virtual_alias_maps="inline:{a=b}", mydestination="$myhostname, hosp.test")

    assert [Status.OK, Status.WARN] == [one.status for one in findings]
    assert "mydestination names mail.hosp.test, and" in findings[1].what


@pytest.mark.parametrize(("setting", "status"), [("none", Status.FAIL), ("unsafe_ignore", Status.WARN)])
def test_tables_that_are_not_followed(tmp_path: Path, setting: str, status: Status) -> None:
    """Who says that there are no aliases is told of those there are; who ignores them is warned."""
    (finding,) = found(tmp_path, setting, virtual_alias_maps="inline:{a=b}")

    assert finding.status is status
    assert "inline:{a=b}" in finding.what


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Without a configuration the check fails, in one line."""
    (finding,) = alias_checks(tmp_path, "resolve", ["hosp.test"])

    assert finding.status is Status.FAIL
    assert "main.cf" in finding.remedy
