"""The command line starts quickly."""

import subprocess
import sys

HEAVY = ("sqlalchemy", "alembic", "cryptography", "pysequoia", "gnupg", "structlog", "dns", "Milter", "rich")


def test_the_command_line_imports_nothing_heavy() -> None:
    """`gatepost --help` loads no database, no cryptography and no log: a command imports what it needs."""
    code = f"import gatepost.cli.main, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
