"""The Internet of the lab, one for each test process."""

from collections.abc import Iterator

import pytest
from lab.internet import Internet, internet
from lab.place import short_folder


@pytest.fixture(scope="session")
def net() -> Iterator[Internet]:
    """Give the Internet of lab.internet, running; each test makes domains of its own in it."""
    with short_folder() as folder, internet(folder) as built:
        yield built
