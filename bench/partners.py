"""
How long a partner look-up takes in a table of a million rows, nothing remembered.

Run by `python -m bench.partners`.

Half of the addresses that are asked for have a row: by address, by domain, or by a parent domain. Ends with status
1 if the 99th percentile is not under a millisecond.
"""

import random
import sys
import tempfile
import time

from gatepost.app.store import open_database, upgrade_database
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
        upgrade_database(url)
        database = open_database(url)
        with database.writing() as connection:
            connection.exec_driver_sql(_FILL, (ROWS,))
        took = sorted(_measure(database))
        database.close()
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    print(f"{ROWS} partners, {LOOK_UPS} look-ups: p50 {p50 * 1e6:.0f} us, p99 {p99 * 1e6:.0f} us")  # noqa: T201
    sys.exit(p99 >= LIMIT)


def _measure(database: Database) -> list[float]:
    partners = SqlPartners(database)
    took = []
    for _ in range(LOOK_UPS):
        number = random.randrange(2 * ROWS)  # noqa: S311 - any spread will do
        address = parse(f"u@x.d{number}.test".encode())
        start = time.perf_counter()
        partners.find(address)
        took.append(time.perf_counter() - start)
    return took


if __name__ == "__main__":
    main()
