"""In continuous integration a skipped test is a failure, unless docs/hacking.md names what it lacks."""

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest

_HACKING = Path(__file__).parent / "docs" / "hacking.md"


def may_lack() -> frozenset[str]:
    """Give the reasons for which a test may skip: the lines "- `lacks ...`" of docs/hacking.md."""
    return frozenset(re.findall(r"^- `(lacks [^`]+)`", _HACKING.read_text(encoding="utf-8"), re.MULTILINE))


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, if it is for a reason that is not named."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail") or not os.environ.get("GATEPOST_CI"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if reason.removeprefix("Skipped: ") not in may_lack():
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure here: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at every test's report."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at every module's report, as a module may skip itself."""
    report = yield
    refuse_skip(report)
    return report
