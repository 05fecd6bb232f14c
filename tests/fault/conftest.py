"""One site in which everything can be made to fail, for each test process."""

from collections.abc import Iterator

import pytest
from lab.fault_site import FaultSite, fault_site
from lab.place import short_folder


@pytest.fixture(scope="session")
def failing() -> Iterator[FaultSite]:
    """Give the site, running and sound."""
    with short_folder() as folder, fault_site(folder) as built:
        yield built
