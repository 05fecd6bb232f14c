"""
Edits: what becomes of a message's header and body, as values.

The same edits serve the copy that stays in place (performed by the milter protocol) and a copy that is
submitted again (applied here). A change counts fields of one name from 1, as received; several changes
never shift each other's index, since deleting leaves the numbering of what was received alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gatepost.message.body import Body
from gatepost.message.field import Field


@dataclass(frozen=True, slots=True)
class Change:
    """Put `value` in the place of the index-th field of that name; None deletes the field."""

    name: bytes
    index: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Prepend:
    """Put a new field above all others."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Put a new field below all others."""

    name: bytes
    value: bytes


Edit = Change | Prepend | Append


@dataclass(frozen=True, slots=True)
class Form:
    """How one copy differs from what was received: edits in order, and a new body if there is one."""

    edits: tuple[Edit, ...] = ()
    body: Body | None = None


def apply(fields: Iterable[Field], edits: Iterable[Edit]) -> tuple[Field, ...]:
    """Apply edits to fields, as a mail server would."""
    changes = {(edit.name.lower(), edit.index): edit.value for edit in edits if isinstance(edit, Change)}
    above = [Field(edit.name, edit.value) for edit in edits if isinstance(edit, Prepend)]
    below = [Field(edit.name, edit.value) for edit in edits if isinstance(edit, Append)]
    kept = list(_changed(fields, changes))
    return (*reversed(above), *kept, *below)


def _changed(fields: Iterable[Field], changes: dict[tuple[bytes, int], bytes | None]) -> Iterator[Field]:
    seen: dict[bytes, int] = {}
    for field in fields:
        key = field.key
        seen[key] = seen.get(key, 0) + 1
        value = changes.get((key, seen[key]), field.value)
        if value is not None:
            yield field if value is field.value else Field(field.name, value)
