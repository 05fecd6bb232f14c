"""What the tests of the decision are made of: small messages, recipients, rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatepost.decision.reader import read_rules
from gatepost.decision.rules import RuleSet

DETECTORS = frozenset({"us-ssn", "payment-card"})


@pytest.fixture
def rules_of(tmp_path: Path) -> Callable[[str], RuleSet]:
    """Read rules from a text."""

    def read(text: str) -> RuleSet:
        (tmp_path / "10-test.toml").write_text(text, encoding="utf-8")
        return read_rules(tmp_path, DETECTORS)

    return read


@pytest.fixture
def shipped() -> Any:
    """Where the rules lie that the product ships."""
    return Path(__file__).parents[3] / "rules"
