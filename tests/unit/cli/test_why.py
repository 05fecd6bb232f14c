"""`gatepost why` tells what is recorded, or clearly that nothing is."""

import json
from pathlib import Path

import pytest
from tests.fakes import FakeRecord
from typer.testing import CliRunner, Result

from gatepost.app.store import open_database
from gatepost.cli.main import app
from gatepost.db.writer import Writer
from gatepost.directory.event import Event
from gatepost.errors import GatepostError
from gatepost.settings import read


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Make a site that has recorded one message to two recipients."""
    invoke("init", str(tmp_path / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
    path = tmp_path / "site" / "gatepost.toml"
    writer = Writer(open_database(read(path)), "gw")
    writer.post(
        FakeRecord(
            *(
                Event(
                    at=1_700_000_000.0,
                    queue_id="4XYZ",
                    message_id="<1@hosp.test>",
                    direction="out",
                    sender="a@hosp.test",
                    recipient=recipient,
                    demand="encrypt",
                    treatment="openpgp",
                    rules=("tagged",),
                    reasons=("the subject asks for it", "a usable key"),
                    detail={"queued_as": "4ABC"} | more,
                )
                for recipient, more in (("bob@x.test", {}), ("carol@x.test", {"alias": "away@hosp.test"}))
            )
        )
    )
    writer.close()
    return str(path)


def test_json(config: str) -> None:
    """Each recipient's event has every column, lists as lists."""
    events = json.loads(invoke("-c", config, "why", "4XYZ", "--json").stdout)["events"]
    assert [one["recipient"] for one in events] == ["bob@x.test", "carol@x.test"]
    assert events[0] == {
        "at": "2023-11-14T22:13:20+00:00",
        "queue_id": "4XYZ",
        "message_id": "<1@hosp.test>",
        "direction": "out",
        "sender": "a@hosp.test",
        "recipient": "bob@x.test",
        "demand": "encrypt",
        "treatment": "openpgp",
        "rules": ["tagged"],
        "reasons": ["the subject asks for it", "a usable key"],
        "detail": {"queued_as": "4ABC"},
        "deliveries": [],
    }


def test_alias(config: str) -> None:
    """Whom an alias leads to is found by the alias as well."""
    events = json.loads(invoke("-c", config, "why", "4XYZ", "--to", "Away@hosp.test", "--json").stdout)["events"]
    assert [one["recipient"] for one in events] == ["carol@x.test"]


def test_text(config: str) -> None:
    """People read the decision, each reason, and where the copy went."""
    out = invoke("-c", config, "why", "1@hosp.test", "--to", "Bob@x.test").stdout
    assert "carol" not in out
    for text in ("demand encrypt, treatment openpgp", "- a usable key", "queued_as: 4ABC", "rules: tagged"):
        assert text in out


def test_nothing_known(config: str) -> None:
    """An unknown message, or a recipient it did not have, is an error that says so."""
    with pytest.raises(GatepostError, match="nothing is recorded of 9ZZZ"):
        invoke("-c", config, "why", "9ZZZ")
    with pytest.raises(GatepostError, match="to eve"):
        invoke("-c", config, "why", "4XYZ", "--to", "eve@x.test")


def test_deliveries(config: str) -> None:
    """What the log told of a recipient's copy stands with the decision, by the copy's queue ID too."""
    writer = Writer(open_database(read(Path(config))), "gw deliveries")
    detail = {
        "message": "4XYZ",
        "status": "sent",
        "dsn": "2.0.0",
        "relay": "mx[1.2.3.4]:25",
        "reply": "250 \x1b[31m",
    }
    session = {"tls": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "peer": "Verified"}
    common = {"kind": "delivery", "queue_id": "4ABC00", "recipient": "bob@x.test"}
    at = 1_700_000_003.0
    writer.post(FakeRecord(Event(at=at, **common, detail=detail | session)))  # type: ignore[arg-type]
    writer.close()
    other = Writer(open_database(read(Path(config))), "gw")
    other.post(FakeRecord(Event(at=at, queue_id="4XYZ", recipient="bob@x.test", detail={"queued_as": "4ABC00"})))
    other.close()

    for name in ("4XYZ", "4ABC00"):
        events = json.loads(invoke("-c", config, "why", name, "--to", "bob@x.test", "--json").stdout)["events"]
        assert events[-1]["deliveries"] == [
            {"at": "2023-11-14T22:13:23+00:00", "queue_id": "4ABC00", **detail, **session}
        ]
    out = invoke("-c", config, "why", "4ABC00").stdout
    wanted = "sent over TLSv1.3 (Verified, TLS_AES_256_GCM_SHA384) to mx[1.2.3.4]:25 [2.0.0] 250 "
    assert f"2023-11-14T22:13:23+00:00 {wanted}" in out
    assert "\x1b" not in out
