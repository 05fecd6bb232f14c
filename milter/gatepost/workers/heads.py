"""
Heads: how far the key worker has stamped each host's events, kept where nobody but the key worker may write.

Without them, whoever may write the database could cut off the latest events together with their stamps.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import ConfigError, StorageError

_NAME = "heads.json"


@dataclass(frozen=True, slots=True)
class Head:
    """The latest stamp of a host: its number, the sequence that it reaches to, its code."""

    number: int
    last: int
    code: bytes


class Heads:
    """A file of heads. For one thread alone, but for `numbers`."""

    def __init__(self, directory: Path) -> None:
        """Take the directory, made if need be, for its owner alone; raises ConfigError."""
        self._file = directory / _NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._heads = _read(self._file.read_text(encoding="ascii")) if self._file.exists() else {}
        except OSError as error:
            raise ConfigError(f"keys.state: {error.filename or directory}: {error.strerror}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"keys.state: {self._file} cannot be read: move it away; a new one is written with the next events"
            ) from error

    def of(self, host: str) -> Head | None:
        """Give a host's head, if it is known."""
        return self._heads.get(host)

    def numbers(self) -> dict[str, int]:
        """Give the number of each head by its host."""
        return {host: head.number for host, head in list(self._heads.items())}

    def advance(self, host: str, head: Head) -> None:
        """Note a later head, on disk before this returns; raises StorageError."""
        heads = self._heads | {host: head}
        text = json.dumps({name: [one.number, one.last, one.code.hex()] for name, one in heads.items()})
        draft = self._file.with_suffix(".new")
        try:
            with draft.open("w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._file)
        except OSError as error:
            raise StorageError(f"{draft} cannot be written: {error.strerror}") from error
        self._heads = heads


def _read(text: str) -> dict[str, Head]:
    return {
        str(host): Head(int(number), int(last), bytes.fromhex(code))
        for host, (number, last, code) in json.loads(text).items()
    }
