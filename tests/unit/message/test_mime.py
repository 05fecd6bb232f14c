"""The outermost MIME entity, taken apart by bytes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.message import mime
from gatepost.message.field import Field


def kind(value: bytes) -> mime.ContentType | None:
    return mime.content_type([Field(b"Content-Type", value)])


@pytest.mark.parametrize(
    ("value", "media", "boundary"),
    [
        (b" multipart/mixed; boundary=abc", b"multipart/mixed", b"abc"),
        (b' Multipart/Mixed ;\n\tBOUNDARY = "a b;c" ; x=y', b"multipart/mixed", b"a b;c"),
        (b' multipart/mixed; boundary="a\\"b"', b"multipart/mixed", b'a"b'),
        (b" multipart/mixed; boundary=a; boundary=a", b"multipart/mixed", b"a"),
        (b"text/plain", b"text/plain", b""),
    ],
)
def test_content_type_is_read(value: bytes, media: bytes, boundary: bytes) -> None:
    """Case, folding, blanks and quoting of RFC 2045 do not matter."""
    found = kind(value)

    assert found is not None
    assert (found.media, found.parameters.get(b"boundary", b"")) == (media, boundary)


@pytest.mark.parametrize(
    "value", [b"", b" multipart", b" multipart/mixed boundary=a", b" a/b; x=1; x=2", b" a/b" * 5000]
)
def test_ambiguous_content_types_are_not_read(value: bytes) -> None:
    """What two readers could read in two ways is read as nothing."""
    assert kind(value) is None


def test_two_content_types_are_not_read() -> None:
    """A second Content-Type field makes both worthless."""
    field = Field(b"Content-Type", b" text/plain")

    assert mime.content_type([field, field]) is None


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n", (b"\r\none", b"\r\ntwo")),
        (b"pre\r\n--b \t\r\nx\r\n--b--", (b"x",)),
        (b"--b\r\n--b--", (b"",)),
        (b"--b\r\none\r\n--b\r\ntwo", (b"one", b"two")),
        (b"--b\r\none\r\n--bb\r\ntwo\r\n--b--", (b"one\r\n--bb\r\ntwo",)),
        (b"x --b\r\none", None),
        (b"--b--\r\n", None),
        (b"--b\r\n1\r\n--b\r\n2\r\n--b\r\n3\r\n--b\r\n4\r\n--b--", None),
    ],
)
def test_parts_are_cut_at_whole_lines(body: bytes, parts: tuple[bytes, ...] | None) -> None:
    """A boundary counts on a line of its own only; too many parts are none; a missing end is forgiven."""
    found = mime.split(body, b"b", 3)

    assert (found.parts if found else None) == parts


@pytest.mark.parametrize("boundary", [b"", b"x" * 71, b"ends in blank "])
def test_boundaries_against_the_rules_are_refused(boundary: bytes) -> None:
    """RFC 2046 allows 1 to 70 characters, the last not a blank."""
    assert mime.split(b"--" + boundary + b"\r\nx\r\n--" + boundary + b"--", boundary, 3) is None


@given(st.lists(st.binary().filter(lambda part: b"--b" not in part), min_size=1, max_size=5))
def test_parts_come_back_byte_for_byte(parts: list[bytes]) -> None:
    """Whatever stands between the boundaries is given unchanged."""
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"

    found = mime.split(body, b"b", 5)

    assert found is not None
    assert found.parts == tuple(parts)


@pytest.mark.parametrize(
    ("data", "names", "body"),
    [
        (b"A: 1\r\nB : 2\r\n 3\r\n\r\nbody", [b"A", b"B"], b"body"),
        (b"\r\nbody", [], b"body"),
        (b"A: 1\r\n", [b"A"], b""),
    ],
)
def test_an_entity_is_header_and_body(data: bytes, names: list[bytes], body: bytes) -> None:
    """Fields in order, folding kept; an empty header and an empty body are possible."""
    found = mime.split_entity(data)

    assert found is not None
    assert [field.name for field in found[0]] == names
    assert found[1] == body


@pytest.mark.parametrize(
    "data", [b"", b"no header", b"A: 1\r\nrubbish\r\n\r\nbody", b"A: 1\0\r\n\r\n", b" : x\r\n\r\n"]
)
def test_a_malformed_header_is_none(data: bytes) -> None:
    """Anything but fields up to an empty line is no entity."""
    assert mime.split_entity(data) is None


@given(
    st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"\n", b"x", b" ", b"\t", b"b", b"-", b"\r"]), max_size=24)
)
def test_lines_that_part(pieces: list[bytes]) -> None:
    """A body is parted at the lines that RFC 2046 section 5.1.1 names, and nowhere else."""
    body = b"".join(pieces)
    line = re.compile(rb"(?:\A|\r\n)--b(--)?[ \t]*(?:\r\n|\Z)")
    first = line.search(body)
    found = mime.split(body, b"b", 100)
    if first is None or first[1]:
        assert found is None
        return
    assert found is not None
    parts, start = [], first.end()
    while (mark := line.search(body, start - 2)) is not None:
        parts.append(body[start : max(start, mark.start())])
        start = mark.end()
        if mark[1]:
            assert found == mime.Multipart(body[: first.start()], tuple(parts), body[start:])
            return
    assert found == mime.Multipart(body[: first.start()], (*parts, body[start:]), b"")
