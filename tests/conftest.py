"""What holds for every test: in continuous integration, only what docs/hacking.md names may be lacking."""

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest

_HACKING = Path(__file__).parents[1] / "docs" / "hacking.md"


def may_lack() -> frozenset[str]:
    """Give the reasons for which a test may skip: the lines "- `lacks ...`" of docs/hacking.md."""
    return frozenset(re.findall(r"^- `(lacks [^`]+)`", _HACKING.read_text(encoding="utf-8"), re.MULTILINE))


def forbidden(report: pytest.TestReport | pytest.CollectReport) -> bool:
    """Tell whether a report is a skip that continuous integration does not allow."""
    if report.outcome != "skipped" or hasattr(report, "wasxfail") or not os.environ.get("GATEPOST_CI"):
        return False
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ") not in may_lack()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for any other reason into a failure."""
    report = yield
    if forbidden(report):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure here: {report.longrepr}"
    return report
