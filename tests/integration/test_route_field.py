"""The field that takes mail to the TLS route: Postfix reads the next hop in it as it stands there."""

import string
import subprocess
from pathlib import Path

import pytest

from gatepost.mta.postfix.own_services import ROUTE_FILE

pytestmark = pytest.mark.real

_HOPS = [
    *(f"{letter}{letter}x.test" for letter in string.ascii_letters + string.digits),
    "[mx.test]",
    "[192.0.2.1]:25",
    "[2001:db8::1]",
    "t.t:587",
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    file = tmp_path / "route.regexp"
    file.write_text(ROUTE_FILE)
    return file


def _read(table: Path, fields: list[str]) -> list[str]:
    """Give what Postfix does with each field."""
    command = ["postmap", "-c", str(table.parent), "-q", "-", f"regexp:{table}"]
    done = subprocess.run(
        command, input="\n".join(fields) + "\n", capture_output=True, text=True, check=True, timeout=60
    )
    answers = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    return [answers[field] for field in fields]


def test_next_hop_is_read_whole(table: Path) -> None:
    """No letter of a next hop is taken for the white space around it."""
    assert _read(table, [f"Gatepost-Route: {hop}" for hop in _HOPS]) == [
        f"FILTER gatepost-tls:{hop}" for hop in _HOPS
    ]


def test_what_is_no_next_hop_is_refused(table: Path) -> None:
    """Mail whose route cannot be read does not go another way."""
    fields = ["Gatepost-Route: a b", "Gatepost-Route: x/y", "Gatepost-Route: ", "Gatepost-Route: a.test, b.test"]
    assert all(answer.startswith("REJECT ") for answer in _read(table, fields))
