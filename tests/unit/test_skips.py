"""In continuous integration a skipped test is a failure, unless docs/hacking.md names what it lacks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"
TEST = "import pytest\ndef test_it():\n    pytest.skip({reason!r})\n"
MODULE = "import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"


@pytest.mark.parametrize("source", [TEST, MODULE], ids=["test", "module"])
@pytest.mark.parametrize(
    ("reason", "ci", "passes"),
    [
        ("lacks IPv6", "1", True),
        ("lacks time", "1", False),
        ("lacks time", "", True),
    ],
)
def test_a_skip_needs_a_named_reason(tmp_path: Path, *, source: str, reason: str, ci: str, passes: bool) -> None:
    """Only what the documentation names may be lacking, for a test and for a whole module."""
    for folder in ("tests", "docs"):
        (tmp_path / folder).mkdir()
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "docs" / "hacking.md").write_text("- `lacks IPv6`: no loopback\n")
    (tmp_path / "tests" / "test_it.py").write_text(source.format(reason=reason))
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "GATEPOST_CI"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env=environ | {"GATEPOST_CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # 5: nothing was collected, since the module skipped itself
    assert (done.returncode in {0, 5}) is passes, done.stdout
