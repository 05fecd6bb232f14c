"""
A milter that does nothing: what pymilter and libmilter themselves cost.

It takes every step of a message, as Gatepost might, and answers none but the last. `python -m bench.noop_milter
SOCKET` serves until SIGTERM.
"""

import os
import sys

import Milter


class Noop(Milter.Base):  # type: ignore[misc] # pymilter has no types
    """One connection."""

    @Milter.noreply  # type: ignore[untyped-decorator]
    def connect(self, *_: object) -> int:
        """Go on."""
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def envfrom(self, *_: object) -> int:
        """Go on."""
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def envrcpt(self, *_: object) -> int:
        """Go on."""
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def header(self, *_: object) -> int:
        """Go on."""
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def eoh(self) -> int:
        """Go on."""
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def body(self, _: bytes) -> int:
        """Go on."""
        return int(Milter.CONTINUE)

    def eom(self) -> int:
        """Let the message through as it is."""
        return int(Milter.CONTINUE)


def main() -> None:
    """Serve."""
    os.umask(0)  # Postfix connects as another user
    Milter.factory = Noop
    Milter.runmilter("noop", f"unix:{sys.argv[1]}", timeout=0)


if __name__ == "__main__":
    main()
