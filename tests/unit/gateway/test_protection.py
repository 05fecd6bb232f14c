"""The content fields of an encrypted copy, in the place of the original's."""

import pytest

from gatepost.gateway.protection import replaced_content
from gatepost.message.edit import apply
from gatepost.message.field import Field

NEW = Field(b"Content-Type", b" multipart/encrypted")
SUBJECT, VERSION = Field(b"Subject", b" x"), Field(b"MIME-Version", b" 1.0")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((SUBJECT,), (SUBJECT, NEW, VERSION)),
        ((VERSION, SUBJECT), (VERSION, SUBJECT, NEW)),
        ((Field(b"Content-Type", b" text/html"), VERSION), (NEW, VERSION)),
        ((Field(b"Content-Language", b" de"), VERSION), (VERSION, NEW)),
        (
            (
                Field(b"Content-ID", b" <1>"),
                Field(b"Content-Type", b" a/b"),
                Field(b"Content-Type", b" c/d"),
                VERSION,
            ),
            (NEW, VERSION),
        ),
    ],
)
def test_content_fields_are_replaced(before: tuple[Field, ...], after: tuple[Field, ...]) -> None:
    """No field of the original tells of the content; the new ones stand, with MIME-Version (RFC 2045)."""
    assert apply(before, tuple(replaced_content(before, (NEW,)))) == after
