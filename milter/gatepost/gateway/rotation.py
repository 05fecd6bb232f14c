"""
Rotation: a pair gets a new private half, and what is sealed to the old one is sealed to the new.

Rules:
  * The file of private halves comes first, with the new half beside the old; then the public half, to which others
    seal; then, in one transaction, everything that lies sealed. Whatever step is the last one done, everything
    opens with that file.
  * The old half stays until it is forgotten on purpose: a service that was not started anew may still seal to it.
  * What none of the halves opens stays as it is, and is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gatepost.crypto import seal
from gatepost.crypto.halves import Halves
from gatepost.errors import ConfigError, CryptoError


class PairFiles(Protocol):
    """The files of one pair; a write is durable and at once. Raises ConfigError."""

    @property
    def name(self) -> str:
        """The pair's name."""

    def halves(self) -> Halves:
        """Read the private halves."""

    def public(self) -> bytes:
        """Read the public half, raw."""

    def write_halves(self, halves: Halves) -> None:
        """Write the private halves in the place of those that are there."""

    def write_public(self, public: bytes) -> None:
        """Write the public half in the place of the one that is there."""


Rewrap = Callable[[bytes, bytes], bytes | None]
"""Takes what is wrapped and its context; gives it wrapped anew, or None where it may stay; raises CryptoError."""


@dataclass(frozen=True, slots=True)
class Resealed:
    """How much was sealed anew, and the names of what does not open."""

    number: int
    unopened: tuple[str, ...]


class Sealed(Protocol):
    """All that lies sealed to one pair. Raises StorageError."""

    def reseal(self, rewrap: Rewrap) -> Resealed:
        """Seal anew in one transaction; what raises CryptoError stays as it is."""


class Rotation:
    """Rotates one pair."""

    def __init__(self, *, files: PairFiles, sealed: Sealed) -> None:
        self._files = files
        self._sealed = sealed

    def prepare(self) -> None:
        """Put a new half beside the current one, unless one lies there already that nothing is sealed to yet."""
        if not self._is_prepared():
            self._files.write_halves(self._files.halves().rotated())

    def rotate(self) -> Resealed:
        """Make the new half the one that everything is sealed to."""
        self.prepare()
        halves = self._files.halves()
        self._files.write_public(halves.public)
        return self._reseal(halves)

    def forget(self) -> Resealed:
        """Seal anew what was sealed to an earlier half meanwhile, and delete the earlier halves."""
        if self._is_prepared():
            raise ConfigError(
                f"the secret {self._files.name} has a new half that is not in use: first run `gatepost secret"
                f" rotate {self._files.name}`"
            )
        halves = self._files.halves()
        done = self._reseal(halves)
        self._files.write_halves(halves.forgotten())
        return done

    def _is_prepared(self) -> bool:
        """Tell whether the public half is still that of an earlier private one; raises ConfigError if of none."""
        halves, public = self._files.halves(), self._files.public()
        if public not in {seal.public_half(one) for one in halves.all}:
            raise ConfigError(
                f"the secrets {self._files.name} and {self._files.name}.pub do not belong together: restore both"
                " from one backup"
            )
        return public != halves.public

    def _reseal(self, halves: Halves) -> Resealed:
        def rewrap(wrapped: bytes, context: bytes) -> bytes | None:
            try:
                seal.unwrap(halves.current, wrapped, context)
            except CryptoError:
                secret = seal.unwrap_any(halves.former, wrapped, context) if halves.former else None
                if secret is None:
                    raise
                return seal.wrap(halves.public, secret, context)
            return None

        return self._sealed.reseal(rewrap)
