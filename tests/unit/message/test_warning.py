"""The word that warns of what nobody signed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.message import subject
from gatepost.message.edit import Change, Prepend, apply
from gatepost.message.field import Field
from gatepost.message.warning import WORD, unwarn_edits, unwarned, warn_edits, warned


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" hello", b" [unverified] hello"),
        (b"hello", b" [unverified] hello"),
        (b"", b" [unverified] "),
        (b" [unverified] hello", b" [unverified] hello"),
        (b" Re: [unverified] hello", b" [unverified] Re: hello"),
        (b" Re: [ Unverified ] hello", b" [unverified] Re: [ Unverified ] hello"),
        (b" RE: [UNVERIFIED] [unverified] hello", b" [unverified] RE: hello"),
        (b" =?utf-8?q?gr=C3=BC=C3=9Fe?=", b" [unverified] =?utf-8?q?gr=C3=BC=C3=9Fe?="),
        (b" hello\n world", b" [unverified] hello\n world"),
        (b"\n hello", b" [unverified]\n hello"),
        (b" =?utf-8?q?" + b"a" * 60 + b"?=", b" [unverified]\n =?utf-8?q?" + b"a" * 60 + b"?="),
        (" grüße".encode(), " [unverified] grüße".encode()),
    ],
)
def test_stands_in_front_once(value: bytes, expected: bytes) -> None:
    """The word stands in front of all else, once; what follows keeps its encoding and folding."""
    assert warned(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" Re: [unverified] hello", b" Re: hello"),
        (b" Fwd: Re: [unverified] [UNVERIFIED] hello", b" Fwd: Re: hello"),
        (b" Re: [unverified]\n hello", b" Re:\n hello"),
        (b" Re: hello [unverified]", b" Re: hello"),
        (b" [unverified]", b" "),
        (b" Re: =?utf-8?q?[unverified]_gr=C3=BC=C3=9Fe?=", b" Re: =?utf-8?b?Z3LDvMOfZQ==?="),
        (b" =?utf-8?b?W3VudmVyaWZpZWRdIHg=?=", b" x"),
        (b" =?utf-8?q?gr=C3=BC=C3=9Fe?=", b" =?utf-8?q?gr=C3=BC=C3=9Fe?="),
        (b" unverified", b" unverified"),
    ],
)
def test_goes_again(value: bytes, expected: bytes) -> None:
    """What insiders send out loses the word, encoded or not; any other Subject keeps its octets."""
    assert unwarned(value) == expected


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60))
def test_never_twice(text: str) -> None:
    """However a Subject reads, it holds the word once after two times, and reads on as before, blanks aside."""
    value = b" " + text.replace("\r", "").replace("\n", " ").replace("\0", "").encode("utf-8", "replace")
    once = warned(value)

    assert subject.decode(warned(once)).split() == subject.decode(once).split()
    assert subject.decode(once).lower().count(WORD) == 1
    assert subject.decode(once).startswith(WORD)


def test_every_subject() -> None:
    """Each Subject field is warned of, and a message without gets one; the mark goes in the same edit."""
    fields = [Field(b"Subject", b" a [-Encrypted-]"), Field(b"subject", b" b")]

    assert warn_edits(fields, unmark=True) == (
        Change(b"Subject", 1, b" [unverified] a"),
        Change(b"Subject", 2, b" [unverified] b"),
    )
    assert warn_edits(fields[:1], unmark=False) == (Change(b"Subject", 1, b" [unverified] a [-Encrypted-]"),)
    assert warn_edits([], unmark=True) == (Prepend(b"Subject", b" [unverified]"),)
    shown = apply(fields, warn_edits(fields, unmark=False))
    assert apply(shown, unwarn_edits(shown)) == tuple(fields)
    assert unwarn_edits(fields) == ()
