"""`gatepost audit`: events listed as asked for; what the audit found, told and given as exit status."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes import FakeRecord
from typer.testing import CliRunner, Result

from gatepost.app import audit as app_audit
from gatepost.app.store import open_database
from gatepost.cli import audit as cli_audit
from gatepost.cli.main import app
from gatepost.db.writer import Writer
from gatepost.directory.audit import Break, Findings
from gatepost.directory.event import Event, Kind
from gatepost.errors import GatepostError
from gatepost.settings import read


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)


def event(at: datetime, number: int, kind: Kind = "message", treatment: str = "openpgp") -> Event:
    return Event(
        at=at.timestamp(),
        kind=kind,
        queue_id=f"Q{number}",
        sender="Alice@hosp.test" if number else "",
        recipient=f"bob{number}@x.test",
        direction="out",
        demand="encrypt",
        treatment=treatment,
        detail={"queued_as": "4ABC"},
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Make a site that has recorded three events, the last an hour ago."""
    invoke("init", str(tmp_path / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
    path = tmp_path / "site" / "gatepost.toml"
    writer = Writer(open_database(read(path)), "gw")
    now = datetime.now(UTC)
    writer.post(
        FakeRecord(
            event(datetime(2026, 5, 1, tzinfo=UTC), 0),
            event(datetime(2026, 5, 2, tzinfo=UTC), 1, "release", "pass"),
            event(now - timedelta(hours=1), 2, "possible-duplicate"),
        )
    )
    writer.close()
    return str(path)


def queue_ids(config: str, *options: str) -> list[str]:
    events = json.loads(invoke("-c", config, "audit", "list", "--json", *options).stdout)["events"]
    return [one["queue_id"] for one in events]


class TestList:
    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ((), ["Q0", "Q1", "Q2"]),
            (("--since", "2026-05-02"), ["Q1", "Q2"]),
            (("--until", "2026-05-02T00:00"), ["Q0"]),
            (("--since", "2026-05-01T12:00+02:00", "--until", "2026-05-03"), ["Q1"]),
            (("--since", "2h"), ["Q2"]),
            (("--since", "30m"), []),
            (("--kind", "release"), ["Q1"]),
            (("--kind", "possible-duplicate"), ["Q2"]),
            (("--to", "BOB1@x.test"), ["Q1"]),
            (("--from", "alice@hosp.test"), ["Q1", "Q2"]),
            (("--treatment", "pass"), ["Q1"]),
            (("--limit", "2"), ["Q1", "Q2"]),
        ],
    )
    def test_filters(self, config: str, options: tuple[str, ...], found: list[str]) -> None:
        """Each option narrows the list, oldest first; a limit keeps the latest."""
        assert queue_ids(config, *options) == found

    def test_json(self, config: str) -> None:
        """An event has every column, its host and its place."""
        (found,) = json.loads(invoke("-c", config, "audit", "list", "--kind", "release", "--json").stdout)[
            "events"
        ]

        assert found == {
            "at": "2026-05-02T00:00:00+00:00",
            "host": "gw",
            "sequence": 2,
            "kind": "release",
            "queue_id": "Q1",
            "message_id": "",
            "direction": "out",
            "sender": "Alice@hosp.test",
            "recipient": "bob1@x.test",
            "demand": "encrypt",
            "treatment": "pass",
            "rules": [],
            "reasons": [],
            "detail": {"queued_as": "4ABC"},
        }

    def test_text(self, config: str) -> None:
        """People read a line for each event."""
        lines = invoke("-c", config, "audit", "list").stdout.splitlines()

        assert len(lines) == 4
        assert "Q0" in lines[1]
        assert "<>" in lines[1]

    @pytest.mark.parametrize("word", ["yesterday", "", "7y", "-1d", "2026-13-01", "999999999999999999999w"])
    def test_nonsense_times(self, config: str, word: str) -> None:
        """What is no time is refused with what is allowed; an absurd age reaches back to the beginning."""
        if word.endswith("w"):
            assert len(queue_ids(config, "--since", word)) == 3
        else:
            with pytest.raises(GatepostError, match="is no time; write 2026-05-01"):
                queue_ids(config, "--since", word)


class TestVerify:
    @staticmethod
    def told(config: str, monkeypatch: pytest.MonkeyPatch, *findings: Findings, unchained: int = 0) -> Result:
        monkeypatch.setattr(app_audit, "verify", lambda _: (findings, unchained))
        return invoke("-c", config, "audit", "verify")

    def test_ok(self, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where all is well the number of events is told, and what is not proven yet."""
        done = self.told(config, monkeypatch, Findings("gw", 7, 2, 1, (), 0), unchained=4)

        assert done.exit_code == 0
        assert done.stdout.splitlines() == [
            "gw: 7 events, 2 stamps, 1 not stamped yet",
            "4 events are older than stamps, and cannot be verified",
            "OK: 7 events are as they were written",
        ]

    def test_not_ok(self, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first difference is named first, and the exit status is 1."""
        breaks = (Break("changed", "gw", 5, "it is not as it was"), Break("removed", "gw", 9, "it is gone"))
        done = self.told(config, monkeypatch, Findings("gw", 7, 2, 0, breaks, 12))

        assert done.exit_code == 1
        assert done.stdout.splitlines() == [
            "gw: 7 events, 2 stamps",
            "  changed: event 5: it is not as it was",
            "  removed: event 9: it is gone",
            "  and 10 more",
            "NOT OK: 12 differences",
        ]


def test_times_without_zone_are_utc() -> None:
    """A time is read the same on every host."""
    assert cli_audit._moment("2026-05-01T10:00") == datetime(2026, 5, 1, 10, tzinfo=UTC)
