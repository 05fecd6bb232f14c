"""
The fault matrix, cell by cell: whatever breaks, whenever, nothing leaves in clear, is lost, or comes twice unsaid.

A message stands at each cell of a row when the fault strikes; docs/security.md shows the same matrix.
"""

from collections.abc import Callable

import pytest
from lab.fault_run import strike_row
from lab.fault_site import FaultSite
from lab.faults import ROWS, row

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

_SLOW = {"gpg hangs"}  # it is given up after a minute


@pytest.mark.parametrize(
    "fault", [pytest.param(one.fault, marks=[pytest.mark.soak] * (one.fault in _SLOW)) for one in ROWS]
)
def test_a_fault_at_every_point(failing: FaultSite, fault: str, counted: Callable[[str], None]) -> None:
    """Each message that stands at a cell when the fault strikes arrives as promised, at the try that is said."""
    cells = strike_row(failing, row(fault))

    counted(f"{fault}: {len(cells)} messages, each at a point of its own")
