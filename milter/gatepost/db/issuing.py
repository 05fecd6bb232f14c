"""
The site's own authorities, and requests that wait for a certificate.
"""

from datetime import datetime

from sqlalchemy import delete, insert, select

from gatepost.db.engine import Database
from gatepost.db.tables import authority, key_request
from gatepost.errors import DirectoryError
from gatepost.gateway.issuing import Authority, Request


class SqlIssuing:
    """What issuing keeps; an implementation of `IssuingStore`. Thread-safe; every change is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def authorities(self) -> tuple[Authority, ...]:
        """Give the site's authorities, the latest first."""
        latest = select(authority).order_by(authority.c.added.desc(), authority.c.fingerprint)
        with self._database.reading() as connection:
            rows = connection.execute(latest).all()
        return tuple(
            Authority(row.fingerprint, bytes(row.certificate), bytes(row.private), row.expires) for row in rows
        )

    def add_authority(self, one: Authority, at: datetime) -> None:
        """Write a new authority."""
        values = {
            "fingerprint": one.fingerprint,
            "certificate": one.certificate,
            "private": one.sealed,
            "expires": one.expires,
            "added": at,
        }
        with self._database.writing() as connection:
            connection.execute(insert(authority).values(values))

    def add_request(self, one: Request, at: datetime) -> None:
        """Write a request that waits for its answer."""
        values = {"digest": one.digest, "owner": one.owner, "private": one.sealed, "added": at}
        with self._database.writing() as connection:
            connection.execute(insert(key_request).values(values))

    def request(self, digest: str) -> Request:
        """Give the request for the public key of that digest; raises DirectoryError if there is none."""
        with self._database.reading() as connection:
            row = connection.execute(select(key_request).where(key_request.c.digest == digest)).first()
        if row is None:
            raise DirectoryError("no request for a certificate waits for this one")
        return Request(row.digest, row.owner, bytes(row.private))

    def remove_request(self, digest: str) -> None:
        """Delete a request."""
        with self._database.writing() as connection:
            connection.execute(delete(key_request).where(key_request.c.digest == digest))
