"""
The rotation of secrets, wired: their files and the database.
"""

from dataclasses import dataclass
from pathlib import Path

from gatepost import secrets
from gatepost.app.store import open_database
from gatepost.crypto.halves import Halves
from gatepost.db.sealed import SqlSealed
from gatepost.gateway.rotation import Rotation
from gatepost.settings import Settings


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """The files of one pair in the secrets' directory; an implementation of `PairFiles`."""

    name: str
    directory: Path

    def halves(self) -> Halves:
        """Read the private halves."""
        return secrets.read_halves(self.name, self.directory, here=True)

    def public(self) -> bytes:
        """Read the public half, raw."""
        return secrets.read_public(self.name, self.directory)

    def write_halves(self, halves: Halves) -> None:
        """Write the private halves in the place of those that are there."""
        secrets.replace(self.directory / self.name, halves.octets())

    def write_public(self, public: bytes) -> None:
        """Write the public half in the place of the one that is there."""
        secrets.replace(self.directory / f"{self.name}.pub", public)


def rotation_of(settings: Settings, pair: str) -> Rotation:
    """Give what rotates one pair, `keys` or `vault`; raises ConfigError."""
    files = SecretFiles(pair, settings.secrets.directory)
    return Rotation(files=files, sealed=SqlSealed(open_database(settings), pair))
