"""Encoded words (RFC 2047)."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.message.encoded_word import decode, encode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?a_b?=", "a b"),
        ("=?UTF-8?Q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("x=?utf-8?q?a?=y", "xay"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        ("=?utf-8?q?=C3?= =?utf-8?b?vA==?=", "ü"),
        ("=?iso-8859-1?q?=FC?=", "ü"),
        ("=?utf-8?q?=FC?=", "ü"),
        ("=?rot13?q?nop?=", "nop"),
        ("=?unicode_escape?q?=5Cx41?=", "\\x41"),
        ("=?utf-8?q?=4?=", "=4"),
        ("=?utf-8?b?A?=", ""),
        ("=?utf-7?q?+2AA-?=", "\N{REPLACEMENT CHARACTER}"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
    ],
)
def test_decoding_is_generous(text: str, expected: str) -> None:
    """What mail programs show is what is decoded; the rest stays as written."""
    assert decode(text) == expected


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(5, 30))
def test_encoding_is_read_back(text: str, column: int) -> None:
    """Encoded text is ASCII in lines under 76 columns, and is read back but for blanks and controls."""
    value = encode(text, column)
    decoded = decode(value.decode("ascii").replace("\n", ""))

    assert value.isascii()
    assert value[:1] in (b" ", b"\t")
    expected = (char for char in text if unicodedata.category(char) != "Cc" and char != " ")
    assert re.sub("[ \t]", "", decoded) == "".join(expected)
    assert (
        all(line.strip(b" \t") and line[:1] in (b" ", b"\t") for line in value.split(b"\n")) or not value.strip()
    )
    assert all(len(word) <= 75 for word in re.split(rb"[ \n]", value) if word.startswith(b"=?utf-8?b?"))


def test_lines_stay_under_76_columns() -> None:
    """No line with an encoded word is longer than 76 characters (section 2), the field's name included."""
    lines = encode("Grüße aus der schönen Stadt " * 20, len("Subject:")).split(b"\n")

    assert len(lines) > 5
    assert len(b"Subject:" + lines[0]) <= 76
    assert all(len(line) <= 76 for line in lines)
