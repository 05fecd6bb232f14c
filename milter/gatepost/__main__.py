"""
Where the command `gatepost` starts and where every error ends.

Exit status: 0 done; 1 refused, not found or broken, with clear lines on stderr; 2 wrong usage.
No traceback reaches a user, unless GATEPOST_DEBUG is set in the environment.
"""

import os
import sys
import traceback

from gatepost.errors import GatepostError, place_of


def main() -> None:
    """Run the command line; whatever it raises becomes lines on stderr and exit status 1."""
    try:
        from gatepost.cli.main import app  # noqa: PLC0415 - a fault while importing is reported like any other

        app(prog_name="gatepost")
    except GatepostError as error:
        _fail(*error.diagnostics())
    except ImportError as error:
        _print_traceback(error)
        _fail(
            f"the library {error.name or '?'} is missing or broken; install Gatepost again with what it requires"
        )
    except OSError as error:
        _fail(_system_error(error))
    except Exception as error:  # noqa: BLE001 - the last resort: a user never sees a traceback
        _print_traceback(error)
        _fail(f"internal error: {type(error).__name__} at {place_of(error)}")


def _fail(*lines: str) -> None:
    for line in lines:
        print(f"gatepost: {line}", file=sys.stderr)  # noqa: T201 - this is the user's output
    sys.exit(1)


def _system_error(error: OSError) -> str:
    """Say what the system refused, and for which file."""
    reason = error.strerror or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason


def _print_traceback(error: Exception) -> None:
    """Print the traceback if the admin asked for it."""
    if os.environ.get("GATEPOST_DEBUG"):
        traceback.print_exception(error)


if __name__ == "__main__":
    main()
