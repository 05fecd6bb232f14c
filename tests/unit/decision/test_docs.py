"""The rule language's documentation does what it says."""

import re
from pathlib import Path

import pytest

from gatepost.decision.example import read_examples, run
from gatepost.decision.reader import _CONDITIONS, _KEYS, read_rules

TEXT = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_examples_of_the_documentation_hold(tmp_path: Path, block: str) -> None:
    """Every rule in the documentation can be used, and decides as the text says."""
    (tmp_path / "docs.toml").write_text(block, encoding="utf-8")
    rules = read_rules(tmp_path, frozenset())

    assert rules.rules
    assert [
        outcome.actual for outcome in (run(one, rules) for one in read_examples(tmp_path)) if not outcome.passed
    ] == []


def test_every_key_is_documented() -> None:
    """No key of a rule and no condition is missing in the documentation."""
    missing = [
        key for key in (*_KEYS, *_CONDITIONS) if f"`{key}" not in TEXT and f"`{key.split('.')[0]}" not in TEXT
    ]

    assert missing == []
