"""
Held copies in the database: one row each, changed only from the state in which it was seen.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, insert, select, update

from gatepost.db.engine import Database
from gatepost.db.tables import held as table
from gatepost.errors import GatepostError, StorageError
from gatepost.message.address import parse
from gatepost.message.transaction import Client, Recipient
from gatepost.vault.held import Held
from gatepost.vault.packed import recipients_from_json, recipients_to_json


class SqlHeld:
    """The rows of held copies; an implementation of `HeldStore`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, held: Held) -> None:
        """Write a row, durably."""
        with self._database.writing() as connection:
            connection.execute(insert(table).values(_values(held)))

    def matching(self, prefix: str) -> tuple[Held, ...]:
        """Give at most two rows, of any state, whose ID begins so; two tell that the prefix is not unique."""
        return self._rows(select(table).where(table.c.id.startswith(prefix, autoescape=True)).limit(2))

    def waiting(self) -> tuple[Held, ...]:
        """Give every row that is held, oldest first."""
        return self._rows(select(table).where(table.c.state == "held").order_by(table.c.since, table.c.id))

    def expired(self, now: datetime) -> tuple[Held, ...]:
        """Give every row that is held and whose time is over."""
        return self._rows(select(table).where(table.c.state == "held", table.c.expires <= now))

    def narrow(self, held: Held, recipients: Sequence[Recipient], reason: str) -> bool:
        """Keep it for these recipients only; False, and nothing done, unless the row is as `held` shows it."""
        return self._change(held, {"recipients": _recipients(recipients), "reason": _clean(reason)})

    def close(self, held: Held, state: str, at: datetime, reason: str) -> bool:
        """Delete the wrapped key, set the state; False, and nothing done, unless the row is as `held` shows."""
        released_at = at if state == "released" else None
        values: dict[str, object] = {
            "data_key": None,
            "state": state,
            "released_at": released_at,
            "reason": _clean(reason),
        }
        return self._change(held, values)

    def _rows(self, query: Select[Any]) -> tuple[Held, ...]:
        with self._database.reading() as connection:
            return tuple(_held(row) for row in connection.execute(query))

    def _change(self, held: Held, values: dict[str, object]) -> bool:
        """Change the row where it still waits for the same recipients, so two releases cannot undo each other."""
        seen = (table.c.id == str(held.id), table.c.state == "held")
        change = update(table).where(*seen, table.c.recipients == _recipients(held.recipients)).values(values)
        with self._database.writing() as connection:
            return connection.execute(change).rowcount == 1


def _values(held: Held) -> dict[str, object]:
    return {
        "id": str(held.id),
        "queue_id": _clean(held.queue_id),
        "sender": held.sender.raw.decode("utf-8"),
        "sender_parameters": json.dumps(held.parameters),
        "recipients": _recipients(held.recipients),
        "client": json.dumps(asdict(held.client)),
        "subject": _clean(held.subject),
        "message_id": _clean(held.message_id),
        "cause": _clean(held.cause),
        "rules": _clean("\n".join(held.rules)),
        "since": held.since,
        "expires": held.expires,
        "blob": str(held.blob),
        "data_key": held.wrapped_key,
        "state": held.state,
        "released_at": held.released_at,
        "reason": _clean(held.reason),
    }


def _held(row: Row[Any]) -> Held:
    try:
        return Held(
            id=UUID(row.id),
            blob=UUID(row.blob),
            queue_id=row.queue_id,
            sender=parse(row.sender.encode("utf-8")),
            parameters=tuple(json.loads(row.sender_parameters)),
            recipients=recipients_from_json(json.loads(row.recipients)),
            client=Client(**json.loads(row.client)),
            subject=row.subject,
            message_id=row.message_id,
            cause=row.cause,
            rules=tuple(row.rules.splitlines()),
            since=row.since,
            expires=row.expires,
            wrapped_key=row.data_key,
            state=row.state,
            released_at=row.released_at,
            reason=row.reason,
        )
    except (ValueError, KeyError, TypeError, GatepostError) as error:
        raise StorageError(f"the row {row.id!r} of table held cannot be read: {type(error).__name__}") from error


def _recipients(recipients: Sequence[Recipient]) -> str:
    return json.dumps(recipients_to_json(recipients))


def _clean(text: str) -> str:
    """Replace what a text column cannot hold: NUL, and bytes that were no UTF-8."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
