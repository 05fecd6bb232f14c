"""Tags and the mark in Subject fields."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.message.edit import Change, Prepend, apply
from gatepost.message.field import Field
from gatepost.message.subject import (
    MARK,
    Tags,
    decode,
    is_subject,
    mark_edits,
    marked,
    tags_in,
    unmark_edits,
    unmarked,
)

TAGS = Tags.of(["*secure*", "encrypt/", "[secure]", "[encrypt]", MARK])


def found(value: bytes) -> list[str]:
    return [match.tag for match in tags_in(decode(value), TAGS)]


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (b" *secure* hello", ["*secure*"]),
        (b" hello ***SeCuRe**", ["*secure*"]),
        (b" hello * secure *", ["*secure*"]),
        (b" hello*secure*", ["*secure*"]),
        (b" hello\n *secure*", ["*secure*"]),
        (b" hello *\n secure*", ["*secure*"]),
        (b" hello *secure", []),
        (b" hello secure*", []),
        (b" a secure place", []),
        (b" *insecure*", []),
        (b" encrypt/Lab", ["encrypt/"]),
        (b" ENCRYPT/ Lab", ["encrypt/"]),
        (b" Re: encrypt/Lab", ["encrypt/"]),
        (b" AW: WG: Fwd: encrypt/Lab", ["encrypt/"]),
        (b" Re[2]: encrypt/Lab", ["encrypt/"]),
        (b" Lab encrypt/", ["encrypt/"]),
        (b" Lab encrypt/ results", ["encrypt/"]),
        (b" how to encrypt/decrypt", []),
        (b" unencrypt/ it", []),
        (b" Question: encrypt/decrypt", []),
        (b" [Secure] x [ENCRYPT]", ["[secure]", "[encrypt]"]),
        (b" secure encrypt", []),
        (b" Re: x [-encrypted-]", [MARK]),
        (b" =?utf-8?q?=2Asecure=2A?=", ["*secure*"]),
        (b" =?utf-8?B?KnNl?= =?utf-8?q?cure*?=", ["*secure*"]),
        (b" =?utf-8?B?KnNl?=\n =?iso-8859-1?q?cure*?=", ["*secure*"]),
        (b" =?utf-8*en?q?*secure*?=", ["*secure*"]),
        (b" =?utf-16-be?b?ACoAcwBlAGMAdQByAGUAKg==?=", ["*secure*"]),
        (b" =?utf-7?q?+ACo-secure*?=", ["*secure*"]),
        (b" =?x-unknown?q?*secure*?=", ["*secure*"]),
        (b" =?utf-8?b?KnNlY3VyZSo?=", ["*secure*"]),
        (b" =?utf-8?b?KnNl Y3VyZSo=?=", ["*secure*"]),
        (b" =?utf-8?q?=FF*secure*?=", ["*secure*"]),
        (b" \xff *secure*", ["*secure*"]),
        ("  \uff0a\uff53\uff45\uff43\uff55\uff52\uff45\uff0a".encode(), ["*secure*"]),
        (" *sec\u200bu\u00adre*".encode(), ["*secure*"]),
        (" *sec\u034fu\ufe0fr\u3164e*".encode(), ["*secure*"]),
        (b" *sec\x01ure*", ["*secure*"]),
        (" Re\uff1a encrypt/Lab".encode(), ["encrypt/"]),
    ],
)
def test_tags_are_found_as_a_reader_sees_them(value: bytes, tags: list[str]) -> None:
    """A tag is found however it is written, encoded or folded, and nothing else is taken for one."""
    assert found(value) == tags


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" *secure* results", b" [-Encrypted-] results"),
        (b" results *** secure *** today", b" results [-Encrypted-] today"),
        (b" results", b" results [-Encrypted-]"),
        (b"results", b"results [-Encrypted-]"),
        (b"", b" [-Encrypted-]"),
        (b" *secure* x [secure] y", b" [-Encrypted-] x y"),
        (b" x [secure] *secure*", b" x [-Encrypted-]"),
        (b" Re: x [-Encrypted-]", b" Re: x [-Encrypted-]"),
        (b" Re: x [-ENCRYPTED-] *secure*", b" Re: x [-Encrypted-]"),
        (b" x *secure* [-Encrypted-]", b" x [-Encrypted-]"),
        (b" encrypt/Lab", b" [-Encrypted-] Lab"),
        (b" a  b\n\t*secure*\n  c", b" a  b\n\t[-Encrypted-]\n  c"),
        (b" a*secure*b", b" a [-Encrypted-] b"),
        (b" " + b"x" * 69, b" " + b"x" * 69 + b"\n [-Encrypted-]"),
        (b" =?utf-8?q?Gr=C3=BC=C3=9Fe?=", b" =?utf-8?q?Gr=C3=BC=C3=9Fe?= [-Encrypted-]"),
        (b" =?utf-8?q?Gr=C3=BC=C3=9Fe?= *secure*", b" =?utf-8?b?R3LDvMOfZQ==?= [-Encrypted-]"),
        (b" caf\xe9 *secure*", b" =?utf-8?b?Y2Fmw6k=?= [-Encrypted-]"),
        (b" caf\xc3\xa9", b" =?utf-8?b?Y2Fmw6k=?= [-Encrypted-]"),
        (b" a\r\nBcc: b *secure*\0", b" a\n Bcc: b [-Encrypted-]"),
        (b" =?utf-8?q?a=0D=0ABcc:_b_*secure*?=", b" a  Bcc: b [-Encrypted-]"),
        (b" [sec[secure]ure]", b" [sec [-Encrypted-] ure]"),
        (b" [secure] [en[encrypt]crypt]", b" [-Encrypted-]"),
    ],
)
def test_the_first_tag_becomes_the_mark(value: bytes, expected: bytes) -> None:
    """The first tag, longest form, becomes the mark; other tags go; without a tag the mark is appended, once."""
    assert marked(value, TAGS) == expected


def test_a_tag_of_another_site_stays() -> None:
    """Only tags that this site's rules name are rewritten."""
    assert marked(b" *secret* x", Tags.of(["*secure*"])) == b" *secret* x [-Encrypted-]"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" Re: x [-Encrypted-]", b" Re: x"),
        (b" [-Encrypted-] x [-encrypted-]", b" x"),
        (b" *secure*  x", b" *secure*  x"),
        (b" =?utf-8?q?=C3=BC_[-Encrypted-]?=", b" =?utf-8?b?w7w=?="),
        (b" =?utf-8?q?=C3=BC?=", b" =?utf-8?q?=C3=BC?="),
        (b" [-Enc[-Encrypted-]rypted-]", b""),
    ],
)
def test_the_mark_is_removed_on_ingress(value: bytes, expected: bytes) -> None:
    """Without its marks a subject is as it was; one without a mark keeps its bytes."""
    assert unmarked(value).rstrip() == expected


PIECES = st.sampled_from(
    [
        *(
            "*secure*",
            "**",
            "*",
            "secure",
            "[secure]",
            "[sec",
            "ure]",
            "encrypt/",
            "[encrypt]",
            MARK,
            "[-Enc",
            "Re: ",
        ),
        *("=?utf-8?q?*sec?=", "=?utf-8?b?dXJlKg==?=", "=?", "?=", "\r", "\0", "\n", " ", "\n ", "x", "a" * 70),
        *("ü", "\u200b", "\uff0a", "日本", "\ud7ff", "\xa0"),
    ]
)
VALUES = st.lists(PIECES, max_size=12).map(lambda pieces: (" " + "".join(pieces)).encode())


@given(VALUES | st.binary(max_size=200))
def test_marking_is_safe_and_final(value: bytes) -> None:
    """Whatever the subject: ASCII, no line that starts another field, one mark, no tag beside it, idempotent."""
    result = marked(value, TAGS)

    assert result.isascii()
    assert b"\r" not in result
    assert b"\0" not in result
    assert all(line[:1] in (b" ", b"\t") for line in result.split(b"\n")[1:])
    assert [match.tag for match in tags_in(decode(result), TAGS)] == [MARK]
    assert decode(result).count(MARK) == 1
    assert marked(result, TAGS) == result


@given(VALUES)
def test_unmarking_leaves_no_mark(value: bytes) -> None:
    """A forged mark is gone, however it was nested or encoded."""
    assert not tags_in(decode(unmarked(value)), Tags.of([MARK]))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs"]), min_size=1, max_size=120))
def test_words_survive(text: str) -> None:
    """The words around the tag are read as before."""
    value = f" {text} *secure*".encode()
    tags = Tags.of(["*secure*"])

    if not tags_in(text, tags.with_mark()) and "=?" not in text and "*" not in text:
        assert decode(marked(value, tags)) == f"{text} {MARK}"


@pytest.mark.parametrize(
    "text",
    [
        "*" * 100_000,
        "* " * 50_000,
        "*" + " " * 100_000,
        "[secure]" * 12_000,
        "[sec" * 12_000 + "ure]" * 12_000,
        "Re: " * 25_000 + "encrypt/",
        "=?utf-8?q?" * 10_000,
        "=?utf-8?q?a?= " * 7_000,
        "encrypt/x" * 10_000,
        "ü*" * 50_000,
    ],
)
def test_hostile_subjects_take_bounded_time(text: str) -> None:
    """The longest subject that a mail server hands on is rewritten within seconds, whatever it holds."""
    started = time.process_time()
    result = marked(f" {text}".encode(), TAGS)

    assert time.process_time() - started < 20
    assert MARK.encode() in result or b"=?utf-8?b?" in result


@pytest.mark.parametrize("tag", ["", " ", "**", "* *", "/", "*\u200b*"])
def test_a_tag_that_holds_nothing_is_refused(tag: str) -> None:
    """A tag that would match everything, or nothing, is an error."""
    with pytest.raises(ValueError, match="nothing to look for"):
        Tags.of([tag])


def test_a_word_is_matched_as_a_word() -> None:
    """A tag that is a plain word does not match inside another word."""
    tags = Tags.of(["confidential"])

    assert tags_in("Confidential: budget", tags)
    assert not tags_in("nonconfidential", tags)


def test_every_subject_field_is_marked() -> None:
    """Several Subject fields are all rewritten, the obsolete form with a blank before the colon included."""
    fields = [Field(b"Subject", b" *secure* a"), Field(b"To", b" x@y.test"), Field(b"SUBJECT ", b" b")]

    assert is_subject(fields[2])
    assert mark_edits(fields, TAGS) == (
        Change(b"Subject", 1, b" [-Encrypted-] a"),
        Change(b"Subject", 2, b" b [-Encrypted-]"),
    )
    assert apply(fields, mark_edits(fields, TAGS))[2] == Field(b"SUBJECT ", b" b [-Encrypted-]")


def test_a_message_without_subject_gets_one() -> None:
    """A protected copy always bears the mark."""
    assert mark_edits([], TAGS) == (Prepend(b"Subject", b" [-Encrypted-]"),)


def test_only_changed_fields_are_edited() -> None:
    """A subject that stays as it is causes no edit."""
    fields = [Field(b"Subject", b" a"), Field(b"Subject", b" b [-Encrypted-]")]

    assert unmark_edits(fields) == (Change(b"Subject", 2, b" b"),)
    assert mark_edits([fields[1]], TAGS) == ()
