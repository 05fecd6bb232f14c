"""
How long a partner look-up takes in a table of a million rows, nothing remembered.

Run by `python -m bench.partners`.

Half of the addresses that are asked for have a row: by address, by domain, or by a parent domain. Ends with status
1 if the 99th percentile is not under a millisecond of CPU; what the clock on the wall says beside it is the host's
load as well.
"""

import random
import sys
import tempfile
import time
from collections.abc import Sequence

from gatepost.app.store import upgrade_database
from gatepost.db.engine import Database
from gatepost.db.partners import SqlPartners
from gatepost.message.address import parse

ROWS = 1_000_000
LOOK_UPS = 20_000
LIMIT = 1e-3

_FILL = """
    INSERT INTO partner (pattern, demand)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
    SELECT CASE i % 3 WHEN 0 THEN 'u@x.d' || i || '.test' WHEN 1 THEN 'x.d' || i || '.test'
           ELSE '.d' || i || '.test' END, 'encrypt' FROM n
"""


def main() -> None:
    """Fill a table, ask it, print the percentiles."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/gatepost.db"
        upgrade_database(database := Database(url))
        with database.writing() as connection:
            connection.exec_driver_sql(_FILL, (ROWS,))
        wall, cpu = zip(*_measure(database), strict=True)
        database.close()
    print(f"{ROWS} partners, {LOOK_UPS} look-ups: {_told(cpu)} of CPU; {_told(wall)} on the wall")  # noqa: T201
    sys.exit(_percentile(cpu, 99) >= LIMIT)


def _told(took: Sequence[float]) -> str:
    return f"p50 {_percentile(took, 50) * 1e6:.0f} us, p99 {_percentile(took, 99) * 1e6:.0f} us"


def _percentile(took: Sequence[float], percent: int) -> float:
    return sorted(took)[len(took) * percent // 100]


def _measure(database: Database) -> list[tuple[float, float]]:
    partners = SqlPartners(database)
    took = []
    for _ in range(LOOK_UPS):
        number = random.randrange(2 * ROWS)  # noqa: S311 - any spread will do
        address = parse(f"u@x.d{number}.test".encode())
        wall, cpu = time.perf_counter(), time.thread_time()
        partners.find(address)
        took.append((time.perf_counter() - wall, time.thread_time() - cpu))
    return took


if __name__ == "__main__":
    main()
