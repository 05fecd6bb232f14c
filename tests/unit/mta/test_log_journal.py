"""The systemd journal is followed by journalctl; what it gives is read, whatever form it has."""

import json
import stat
from pathlib import Path

import pytest
from lab.wait import until

from gatepost.errors import LogError
from gatepost.gateway.delivery import Status
from gatepost.mta.postfix import log_journal
from gatepost.mta.postfix.delivery_log import DeliveryLog
from gatepost.mta.postfix.log_journal import LogJournal
from gatepost.mta.postfix.log_line import Line

TEXT = "4XyABCDEFG: to=<b@p.test>, relay=none, delay=3, delays=1/0/1/1, dsn=2.0.0, status=sent (250 ok)"


def entry(number: int, **more: object) -> dict[str, object]:
    return {
        "__CURSOR": f"s=1;i={number}",
        "__REALTIME_TIMESTAMP": "1795470114250000",
        "SYSLOG_IDENTIFIER": "postfix/smtp",
        "_PID": "7",
        "MESSAGE": TEXT,
        **more,
    }


@pytest.fixture
def journalctl(tmp_path: Path) -> Path:
    """Give a journalctl that notes how it was called, prints `entries`, and then waits or fails."""
    program = tmp_path / "journalctl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/called\ncat {tmp_path}/entries\n'
        f"if [ -e {tmp_path}/fault ]; then cat {tmp_path}/fault >&2; exit 1; fi\nexec sleep 60\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "entries").write_text("")
    return program


def write(journalctl: Path, *entries: object) -> None:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in entries]
    journalctl.with_name("entries").write_text("".join(f"{line}\n" for line in lines))


def lines(journal: LogJournal, number: int) -> list[Line]:
    found: list[Line] = []
    until(lambda: found.extend(journal.read()) or len(found) >= number, 30, "entries come")
    return found


def test_entries(journalctl: Path) -> None:
    """Text, octets that are no UTF-8, and the process by either field; what cannot be read is passed over."""
    write(
        journalctl,
        entry(1),
        "no JSON",
        entry(2, MESSAGE=None),
        {"__CURSOR": "x"},
        entry(3, MESSAGE=list(b"octets \xff"), SYSLOG_PID="8"),
        entry(4, _PID="none"),
    )
    journal = LogJournal(114, None, [str(journalctl)])
    assert lines(journal, 2) == [
        Line(1795470114.25, "postfix/smtp", 7, TEXT),
        Line(1795470114.25, "postfix/smtp", 8, "octets �"),
    ]
    journal.close()
    called = journalctl.with_name("called").read_text()
    assert "--lines=0 SYSLOG_FACILITY=2 _UID=114" in called


def test_goes_on_behind_the_last_entry(journalctl: Path) -> None:
    """A place is a cursor; a journalctl that ended is started again behind it."""
    write(journalctl, entry(5))
    journal = LogJournal(None, None, [str(journalctl)])
    lines(journal, 1)
    journalctl.with_name("fault").write_text("journal: gone away\n")
    journal.close()
    again = LogJournal(None, journal.place, [str(journalctl)])
    assert len(lines(again, 1)) == 1
    with pytest.raises(LogError, match="journalctl ended: journal: gone away"):
        until(lambda: again.read() and False, 30, "journalctl ends")
    assert "--after-cursor=s=1;i=5 SYSLOG_FACILITY=2" in journalctl.with_name("called").read_text()


def test_cursor_that_is_gone(journalctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal was wiped, following begins with what comes, and one line says that some was missed."""
    told: list[str] = []

    class Logger:
        def warning(self, event: str, **_: object) -> None:
            told.append(event)

    monkeypatch.setattr(log_journal, "logger", Logger())
    journalctl.with_name("fault").write_text("Failed to seek to cursor: Invalid argument\n")
    journal = LogJournal(None, {"cursor": "gone"}, [str(journalctl)])
    with pytest.raises(LogError):
        until(lambda: journal.read() and False, 30, "journalctl ends")
    assert journal.place == {"cursor": ""}
    assert told == ["lines of the mail server's log were missed"]


def test_no_journalctl(tmp_path: Path) -> None:
    """A host without systemd is told in one line."""
    with pytest.raises(LogError, match="journalctl: No such file"):
        LogJournal(None, None, [str(tmp_path / "journalctl")]).read()


def test_as_a_log(journalctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named `journal`, it gives deliveries as a file does."""
    write(journalctl, entry(1))
    monkeypatch.setenv("PATH", str(journalctl.parent), prepend=":")
    log = DeliveryLog("journal", name="postfix", owner=None)
    log.begin("")
    found = []
    until(lambda: found.extend(log.read()) or found, 30, "a delivery comes")
    place = log.place
    log.close()
    assert [(one.recipient, one.status) for one in found] == [("b@p.test", Status.SENT)]
    assert "i=1" in place


def test_another_log_is_begun_anew(tmp_path: Path) -> None:
    """A place in one log is none in another, and what somebody else wrote there is none at all."""
    file = tmp_path / "mail.log"
    file.write_text(f"2026-11-23T21:30:00Z mail postfix/smtp[7]: {TEXT}\n")
    for place in ('{"log": "journal", "where": {"cursor": "x"}}', "nonsense", "[1]"):
        log = DeliveryLog(str(file), name="postfix", owner=None)
        log.begin(place)
        assert log.read() == []
        log.close()
