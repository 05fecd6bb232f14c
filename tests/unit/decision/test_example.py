"""Examples beside the rules, and the rules that the product ships."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatepost.cli.main import app
from gatepost.decision.example import read_examples, run
from gatepost.decision.reader import read_rules
from gatepost.errors import ConfigError

RULES = '[[rule]]\nname = "r"\nwhen = { subject_tag = ["[x]"] }\ndemand = "encrypt"\n'


def check(directory: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*options, "rules", "check", str(directory)])
    return result.exit_code, result.stdout


def test_the_shipped_examples_pass(shipped: Path) -> None:
    """Every rule that we ship does what its examples say, and has one that it decides."""
    rules = read_rules(shipped, frozenset())
    outcomes = [run(example, rules) for example in read_examples(shipped)]

    assert len(outcomes) >= 16
    assert [outcome.example.name for outcome in outcomes if not outcome.passed] == []


def test_every_shipped_rule_has_an_example_that_fails_without_it(shipped: Path) -> None:
    """No rule is shipped whose loss the examples would not show."""
    rules = read_rules(shipped, frozenset())
    examples = read_examples(shipped)

    for lost in rules.rules:
        fewer = type(rules)(tuple(rule for rule in rules.rules if rule is not lost), rules.tags)
        assert any(not run(example, fewer).passed for example in examples), lost.name


def test_the_shipped_rule_that_is_switched_off(shipped: Path, tmp_path: Path) -> None:
    """The rule about free mail does what it says once the admin has taken the comment signs away."""
    text = (shipped / "30-free-mail.toml").read_text(encoding="utf-8")
    (tmp_path / "30-free-mail.toml").write_text(re.sub(r"^#(?! )", "", text, flags=re.MULTILINE), encoding="utf-8")

    rules = read_rules(tmp_path, frozenset())
    outcomes = [run(example, rules) for example in read_examples(tmp_path)]

    assert [rule.name for rule in rules.rules] == ["TLS to free mail does not protect"]
    assert len(outcomes) == 3
    assert [one for one in outcomes if not one.passed] == []
    assert read_rules(shipped, frozenset()).rules
    assert not any(not rule.tls_protects for rule in read_rules(shipped, frozenset()).rules)


def test_a_passing_check(shipped: Path) -> None:
    """The command tells what passed and exits with 0."""
    code, output = check(shipped)

    assert code == 0
    assert "ok    10-subject-tags.toml: a tag with more stars" in output
    assert output.splitlines()[-1].endswith("examples, 0 failed")


def test_a_failing_example_shows_expected_and_actual(tmp_path: Path) -> None:
    """An admin sees at once what a rule did otherwise, and scripts see exit status 1."""
    (tmp_path / "a.toml").write_text(RULES + '[[example]]\nname = "e"\nsubject = "[x] y"\ndemand = "none"\n')

    code, output = check(tmp_path)

    assert code == 1
    assert "FAIL  a.toml: e: demand expected 'none', actual 'encrypt'" in output


def test_json(tmp_path: Path) -> None:
    """With --json the same is one document."""
    (tmp_path / "a.toml").write_text(RULES + '[[example]]\nname = "e"\nsubject = "[x] y"\ndemand = "none"\n')

    code, output = check(tmp_path, "--json")

    assert code == 1
    assert json.loads(output) == {
        "directory": str(tmp_path),
        "rules": ["r"],
        "examples": [
            {
                "file": "a.toml",
                "name": "e",
                "passed": False,
                "expected": {"demand": "none"},
                "actual": {"demand": "encrypt"},
            }
        ],
        "failed": 1,
    }


def test_an_example_can_set_everything(tmp_path: Path) -> None:
    """Direction, envelope, login, size, finds, thread, partner and encryption of an example can be given."""
    (tmp_path / "a.toml").write_text(
        """
[[rule]]
name = "r"
when = { direction = "out", sender = "b@hosp.test", recipient = "c@d.test", authenticated = true, size_over = 5,
         recipients_over = 4, header.X-Y = "z", detect = "us-ssn", at_least = 2 }
demand = "encrypt"
[[example]]
direction = "out"
sender = "b@hosp.test"
recipient = "c@d.test"
authenticated = true
size = 6
recipients = 5
header = { X-Y = "z" }
finds = { us-ssn = 2 }
demand = "encrypt"
rules = ["r"]
treatment = "smime"
[[example]]
thread = true
encrypted = true
demand = "encrypt"
treatment = "pass"
[[example]]
partner_demand = "tls"
demand = "tls"
treatment = "tls"
""".replace("\n         ", " ")
    )
    rules = read_rules(tmp_path, frozenset({"us-ssn"}))

    assert all(run(example, rules).passed for example in read_examples(tmp_path))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('subjct = "x"\ndemand = "tls"', "example 1: unknown key 'subjct'"),
        ("", "example 1: needs the demand that is expected"),
        ('demand = "maybe"', "example 1: no demand 'maybe'"),
        ('demand = "tls"\ntreatment = "fax"', "'fax' is not a valid Treatment"),
        ('demand = "tls"\ndirection = "up"', "'up' is not a valid Direction"),
        ('demand = "tls"\nsize = "big"', "example 1: size is of the wrong type"),
        ('demand = "tls"\nrecipient = "@x"', "example 1: the address lacks"),
    ],
)
def test_a_wrong_example_is_named(tmp_path: Path, text: str, fault: str) -> None:
    """An example that cannot be run is an error, not a silent pass."""
    (tmp_path / "a.toml").write_text(f"[[example]]\n{text}\n")

    with pytest.raises(ConfigError) as caught:
        read_examples(tmp_path)

    assert fault in str(caught.value)
