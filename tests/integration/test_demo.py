"""`make demo`, run as people run it."""

import subprocess
import sys

import pytest
from lab.place import short_folder

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def test_every_sample_arrives_as_expected() -> None:
    """The demo sends every sample, each arrives as expected, and nothing it started is left behind."""
    with short_folder() as folder:
        command = [sys.executable, "-m", "lab.demo", "--folder", str(folder / "demo")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
        left = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False).stdout

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("FAIL") == 0
    assert "as expected" in done.stdout
    assert left == ""
