"""
Everything in the database that lies sealed to a pair, sealed anew.

Whatever seals to the secret `keys` or `vault` has its column here, or a rotation would leave it behind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Column, Connection, select, update

from gatepost.crypto.authority import authority_context, request_context
from gatepost.crypto.openpgp import private_context
from gatepost.db.engine import Database
from gatepost.db.tables import authority, held, key, key_request
from gatepost.errors import CryptoError
from gatepost.gateway.rotation import Resealed, Rewrap
from gatepost.vault.held import key_context


@dataclass(frozen=True, slots=True)
class _Place:
    """A column of sealed values: what names its rows, the context of one, and its name for people."""

    column: Column[bytes]
    names: tuple[Column[str], ...]
    context: Callable[[str], bytes]
    what: str


_PLACES = {
    "keys": (
        _Place(key.c.private, (key.c.fingerprint, key.c.owner), private_context, "key"),
        _Place(authority.c.private, (authority.c.fingerprint,), authority_context, "authority"),
        _Place(key_request.c.private, (key_request.c.digest,), request_context, "request"),
    ),
    "vault": (_Place(held.c.data_key, (held.c.id,), lambda name: key_context(UUID(name)), "held copy"),),
}


class SqlSealed:
    """What lies sealed to one pair; an implementation of `Sealed`."""

    def __init__(self, database: Database, pair: str) -> None:
        """Take the pair's name, `keys` or `vault`."""
        self._database = database
        self._places = _PLACES[pair]

    def reseal(self, rewrap: Rewrap) -> Resealed:
        """Seal anew in one transaction; what raises CryptoError stays as it is. Raises StorageError."""
        number = 0
        unopened: list[str] = []
        with self._database.writing() as connection:
            for place in self._places:
                wanted = select(*place.names, place.column).where(place.column.is_not(None))
                for *names, sealed in connection.execute(wanted.with_for_update()).all():
                    try:
                        anew = rewrap(bytes(sealed), place.context(names[0]))
                    except (CryptoError, ValueError):
                        unopened.append(f"{place.what} {' for '.join(names)}")
                        continue
                    if anew is not None:
                        _write(connection, place, names, anew)
                        number += 1
        return Resealed(number, tuple(unopened))


def _write(connection: Connection, place: _Place, names: Sequence[str], anew: bytes) -> None:
    change = update(place.column.table)
    for name, value in zip(place.names, names, strict=True):
        change = change.where(name == value)
    connection.execute(change.values({place.column.name: anew}))
