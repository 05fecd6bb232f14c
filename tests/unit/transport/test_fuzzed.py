"""What fuzzing found stays found, and the parsers are fuzzed on."""

import importlib.util
from pathlib import Path

import pytest
from lab import fuzz
from lab.fuzz_targets import TARGETS

SECONDS = 60


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found(target: str) -> None:
    """Every input that once reached new code, or broke something, gives what it gave when it was kept."""
    kept = list(fuzz.golden(target))
    assert len(kept) > 5
    assert [TARGETS[target](octets) for octets, _ in kept] == [outcome for _, outcome in kept]


@pytest.mark.soak
@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(target: str, tmp_path: Path) -> None:
    """A minute of inputs guided by coverage breaks no promise; keep what does with `python -m lab.fuzz keep`."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("lacks atheris")
    assert fuzz.run(target, SECONDS, tmp_path) is None
