"""Edits applied to fields."""

from gatepost.message.edit import Append, Change, Prepend, apply
from gatepost.message.field import Field

FIELDS = (Field(b"Received", b" a"), Field(b"Subject", b" one"), Field(b"SUBJECT", b" two"), Field(b"X", b" x"))


def test_changes_count_fields_of_one_name_as_received() -> None:
    """Deleting the first of two does not shift the index of the second; names compare without case."""
    edits = (Change(b"subject", 1, None), Change(b"Subject", 2, b" new"))

    assert (Field(b"Received", b" a"), Field(b"SUBJECT", b" new"), Field(b"X", b" x")) == apply(FIELDS, edits)


def test_new_fields_stand_above_or_below() -> None:
    """The last one that is put above stands first; those below keep their order."""
    edits = (Prepend(b"P1", b" 1"), Prepend(b"P2", b" 2"), Append(b"A1", b" 1"), Append(b"A2", b" 2"))

    names = [field.name for field in apply(FIELDS[:1], edits)]

    assert [b"P2", b"P1", b"Received", b"A1", b"A2"] == names


def test_without_edits_all_stays() -> None:
    """No edit, no difference."""
    assert apply(FIELDS, ()) == FIELDS
