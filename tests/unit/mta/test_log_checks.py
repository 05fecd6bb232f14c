"""What the doctor and `setup` say of Postfix's log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gatepost.mta.finding import Status
from gatepost.mta.postfix import log_checks, postconf
from gatepost.mta.postfix.log_checks import where


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give what Postfix says of its settings."""
    values = {"maillog_file": "", "smtp_tls_loglevel": "1"}
    monkeypatch.setattr(log_checks, "USER", "nobody-of-this-name")
    monkeypatch.setattr(postconf, "value", lambda _directory, name: values[name])
    return values


def found(log: str) -> list[tuple[Status, str]]:
    return [
        (one.status, f"{one.what} -> {one.remedy}") for one in log_checks.log_checks(Path("/etc/postfix"), log)
    ]


def test_not_followed(values: dict[str, str]) -> None:
    """Nothing is recorded: the doctor says what to write where."""
    values["maillog_file"] = "/var/log/postfix.log"
    ((status, text),) = found("")
    assert status is Status.WARN
    assert 'write log = "/var/log/postfix.log"' in text


def test_followed(values: dict[str, str], tmp_path: Path) -> None:
    """A file that is there and can be read is fine, with or without Postfix writing it itself."""
    log = tmp_path / "mail.log"
    log.touch(0o644)
    tmp_path.chmod(0o755)
    for own in ("", str(log)):
        values["maillog_file"] = own
        assert [status for status, _ in found(str(log))] == [Status.OK]


@pytest.mark.usefixtures("values")
def test_files_that_cannot_be_followed(tmp_path: Path) -> None:
    """What is not there, or a link, is told with what to do."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert "No such file" in found(str(tmp_path / "none"))[0][1]
    assert "name the file itself" in found(str(link))[0][1]


def test_another_log_than_postfix_writes(values: dict[str, str]) -> None:
    """A log that Postfix does not write to proves nothing."""
    values["maillog_file"] = "/var/log/postfix.log"
    ((status, text),) = found("/var/log/mail.log")
    assert status is Status.FAIL
    assert "but Postfix logs to /var/log/postfix.log" in text


def test_sessions_that_are_not_logged(values: dict[str, str], tmp_path: Path) -> None:
    """Without smtp_tls_loglevel the ordinary transport tells no TLS."""
    values["smtp_tls_loglevel"] = "0"
    (tmp_path / "log").touch(0o644)
    assert "smtp_tls_loglevel = 1" in found(str(tmp_path / "log"))[1][1]


def test_nobody_follows() -> None:
    """A service that has not noted its place for minutes, or never has, is told."""
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert log_checks.following_check(now - timedelta(minutes=2), now).status is Status.OK
    for seen, status in ((None, Status.WARN), (now - timedelta(minutes=6), Status.FAIL)):
        found = log_checks.following_check(seen, now)
        assert found.status is status
        assert "gatepost run deliveries" in found.remedy


def test_where_postfix_logs(values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own file, else the usual ones, else the journal, else nobody knows."""
    usual, journal = tmp_path / "mail.log", tmp_path / "socket"
    monkeypatch.setattr(log_checks, "_USUAL", (usual,))
    monkeypatch.setattr(log_checks, "_JOURNAL_SOCKET", journal)
    directory = Path("/etc/postfix")
    assert where(directory) == ""
    journal.touch()
    assert where(directory) == "journal"
    usual.touch()
    assert where(directory) == str(usual)
    values["maillog_file"] = "/var/log/postfix.log"
    assert where(directory) == "/var/log/postfix.log"
