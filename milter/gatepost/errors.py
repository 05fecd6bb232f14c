"""
What can go wrong, and whose fault it is.

One root, a child per cause. An error's text says what is wrong, where, and what to do;
it never holds a secret or a message's content. `temporary` tells whether a later try may succeed:
the milter answers a temporary error, and every unknown one, with a tempfail.
"""

import traceback


def place_of(error: BaseException) -> str:
    """Name the innermost module and line that raised an error, for a line that must not show a traceback."""
    frames = [
        (frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    module, line = frames[-1] if frames else ("?", 0)
    return f"{module}:{line}"


class GatepostError(Exception):
    """Root of all errors that Gatepost raises on purpose."""

    temporary = False

    def diagnostics(self) -> tuple[str, ...]:
        """Tell what is wrong, a line per fault."""
        return tuple(str(self).splitlines()) or (type(self).__name__,)


class ConfigError(GatepostError):
    """The admin's files are wrong: settings, rules, site layout. Holds every fault found, not the first."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults

    def diagnostics(self) -> tuple[str, ...]:
        """Tell every fault, a line each."""
        return self.faults


class AddressError(GatepostError):
    """An address cannot be read, or could not be given back byte for byte."""


class DirectoryError(GatepostError):
    """A partner or key cannot be stored as given."""


class AliasError(GatepostError):
    """The site's aliases cannot be asked, or lead nowhere that can be told."""

    temporary = True


class RouteError(GatepostError):
    """How the mail server routes an address cannot be told."""

    temporary = True


class CryptoError(GatepostError):
    """Encryption, decryption or sealing failed; nothing of the content was released."""


class StorageError(GatepostError):
    """The database or the vault did not answer or is full."""

    temporary = True


class WorkerError(GatepostError):
    """A worker process is down, too slow, or refused the caller."""

    temporary = True


class DeliveryError(GatepostError):
    """
    The re-injection listener did not take a copy.

    `uncertain` tells that it may have taken it all the same: the reply to the final dot was lost (RFC 1047).
    """

    temporary = True

    def __init__(self, text: str, *, uncertain: bool = False) -> None:
        super().__init__(text)
        self.uncertain = uncertain


class LogError(GatepostError):
    """The mail server's log cannot be read."""

    temporary = True


class VaultError(GatepostError):
    """A held copy is not there, or may not leave."""


def cause(error: BaseException) -> str:
    """
    Tell an error in one log line: our own by their text, the system's by what it refused and where.

    Any other is told by its type and place: its text may quote a message.
    """
    if isinstance(error, GatepostError):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if isinstance(error.filename, str) else error.strerror
    return f"{type(error).__name__} at {place_of(error)}"
