"""
The key table: certificates of partners and of the site, looked up per recipient and edited by admins.

Private halves lie beside their certificates, sealed; whoever looks keys up never reads them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from gatepost.db.cache import Cache
from gatepost.db.engine import Database
from gatepost.db.lookup import Lookup
from gatepost.db.tables import key
from gatepost.directory.key import Key, Trust, owners
from gatepost.errors import DirectoryError, StorageError
from gatepost.message.address import Address

_PUBLIC = (
    key.c.fingerprint,
    key.c.kind,
    key.c.owner,
    key.c.certificate,
    key.c.trust,
    key.c.own,
    key.c.expires,
    key.c.source,
    key.c.capabilities,
    key.c.added,
)
_ANY_OWN = select(key.c.fingerprint).where(key.c.own).limit(1)


class SqlKeys:
    """Looks keys up; implements the port `Keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_owner = Lookup(database, _PUBLIC, key.c.owner)
        self._cached: Cache[tuple[str, ...], tuple[Key, ...]] = Cache(self._find)
        self._cached_own: Cache[None, bool] = Cache(self._any_own)

    def find(self, address: Address, kind: str) -> tuple[Key, ...]:
        """Give the keys of that kind for the address, best owner first; raises StorageError."""
        return tuple([one for one in self._cached(owners(address)) if one.kind == kind])

    def any_own(self) -> bool:
        """Tell whether the site holds the private half of any key; raises StorageError."""
        return self._cached_own(None)

    def _any_own(self, _: None) -> bool:
        with self._database.reading() as connection:
            return connection.execute(_ANY_OWN).first() is not None

    def _find(self, names: tuple[str, ...]) -> tuple[Key, ...]:
        latest = sorted(self._by_owner.rows(names), key=lambda row: (-row.added.timestamp(), row.fingerprint))
        return tuple(sorted(map(_key, latest), key=lambda one: (names.index(one.owner), -one.trust)))


class KeyTable:
    """Edits the key table. Every change is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self) -> tuple[Key, ...]:
        """Give every key, by owner."""
        with self._database.reading() as connection:
            found = connection.execute(select(*_PUBLIC).order_by(key.c.owner, key.c.fingerprint)).all()
        return tuple(map(_key, found))

    def put(self, keys: Sequence[Key], sealed: bytes | None = None) -> None:
        """
        Write keys, over those of the same fingerprint and owner, all of them or none.

        `sealed` is the private half that belongs to all of them. Without it a private half that is there stays.
        """
        with self._database.writing() as connection:
            for one in keys:
                columns = _columns(one)
                if sealed is not None:
                    columns |= {"private": sealed, "own": True}
                here = (key.c.fingerprint == one.fingerprint) & (key.c.owner == one.owner)
                if not connection.execute(update(key).where(here).values(columns)).rowcount:
                    connection.execute(insert(key).values(columns | {"added": datetime.now(UTC)}))

    def trust(self, fingerprint: str, level: Trust) -> None:
        """Set how well a key is known, under every owner; raises DirectoryError if there is none."""
        with self._database.writing() as connection:
            statement = update(key).where(key.c.fingerprint == fingerprint).values(trust=level.name.lower())
            if not connection.execute(statement).rowcount:
                raise DirectoryError(f"there is no key {fingerprint}")

    def remove(self, fingerprint: str, owner: str = "") -> None:
        """Delete a key, under one owner or under all; raises DirectoryError if there is none."""
        statement = delete(key).where(key.c.fingerprint == fingerprint)
        if owner:
            statement = statement.where(key.c.owner == owner)
        with self._database.writing() as connection:
            if not connection.execute(statement).rowcount:
                raise DirectoryError(f"there is no key {fingerprint}" + (f" for {owner}" if owner else ""))

    def sealed(self, address: Address, kind: str) -> tuple[tuple[Key, bytes], ...]:
        """Give our own keys for an address, best owner and newest first, with their sealed private halves."""
        names = owners(address)
        statement = (
            select(*_PUBLIC, key.c.private)
            .where(key.c.owner.in_(names), key.c.kind == kind, key.c.private.is_not(None))
            .order_by(key.c.added.desc(), key.c.fingerprint)
        )
        with self._database.reading() as connection:
            rows = connection.execute(statement).all()
        found = [(_key(row), bytes(row.private)) for row in rows]
        return tuple(sorted(found, key=lambda one: names.index(one[0].owner)))


class SqlAnnounced:
    """Notes what correspondents can read; implements the port `Announced`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, fingerprint: str, capabilities: bytes) -> None:
        """Keep what a mail announced, under every owner of the key; writes only what is new."""
        other = key.c.capabilities.is_(None) | (key.c.capabilities != capabilities)
        here = (key.c.fingerprint == fingerprint) & other
        with self._database.reading() as connection:
            if connection.execute(select(key.c.fingerprint).where(here).limit(1)).first() is None:
                return
        with self._database.writing() as connection:
            connection.execute(update(key).where(here).values(capabilities=capabilities))


def _key(row: Row[*tuple[Any, ...]]) -> Key:
    try:
        trust = Trust[row.trust.upper()]
    except KeyError as error:
        raise StorageError(f"the key {row.fingerprint} has the unknown trust {row.trust!r}; correct it") from error
    return Key(
        fingerprint=row.fingerprint,
        kind=row.kind,
        owner=row.owner,
        certificate=bytes(row.certificate),
        trust=trust,
        own=row.own,
        expires=row.expires,
        source=row.source,
        capabilities=bytes(row.capabilities or b""),
        added=row.added,
    )


def _columns(one: Key) -> dict[str, Any]:
    return {
        "fingerprint": one.fingerprint,
        "owner": one.owner,
        "kind": one.kind,
        "certificate": one.certificate,
        "trust": one.trust.name.lower(),
        "source": one.source,
        "expires": one.expires,
    }
