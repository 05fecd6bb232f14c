"""
The warning: a word at the beginning of the Subject that shows people what nobody signed.

It is put on mail for insiders, once, in front of all else, and taken off again what insiders send out. One that
outsiders wrote stays: who warns of themselves harms nobody.
"""

from collections.abc import Iterable

from gatepost.message import subject
from gatepost.message.edit import Edit, Prepend
from gatepost.message.field import Field
from gatepost.message.subject import Tags

WORD = "[unverified]"

_WORD = WORD.encode("ascii")
_TAGS = Tags.of((WORD,))
_LINE = 76  # columns of a line with encoded words (RFC 2047 section 2)
_COLUMN = len("Subject: ") + len(WORD)


def warn_edits(fields: Iterable[Field], *, unmark: bool) -> tuple[Edit, ...]:
    """Put the word in front of every Subject, and take the mark out where asked for; without one it is added."""
    fields = tuple(fields)
    if not any(map(subject.is_subject, fields)):
        return (Prepend(b"Subject", b" " + _WORD),)
    return subject.changed(fields, lambda value: warned(subject.unmarked(value) if unmark else value))


def unwarn_edits(fields: Iterable[Field]) -> tuple[Edit, ...]:
    """Take the word out of every Subject."""
    return subject.changed(fields, unwarned)


def warned(value: bytes) -> bytes:
    """Give the raw field value with the word in front, once; what follows keeps its encoding and its folding."""
    rest = unwarned(value)
    if not rest.startswith((b" ", b"\t", b"\n")):
        rest = b" " + rest
    first = rest.partition(b"\n")[0]
    return b" " + _WORD + (b"\n" if _COLUMN + len(first) > _LINE and first.strip() else b"") + rest


def unwarned(value: bytes) -> bytes:
    """Give the raw field value without the word; the value itself where it is not there."""
    return subject.cleared(value, _TAGS)
