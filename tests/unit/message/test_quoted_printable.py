"""Quoted-printable: every octet comes back, and no line tempts a mail server."""

import quopri

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatepost.message import quoted_printable


def _encoded(data: bytes, piece: int = 7) -> bytes:
    pieces = [data[start : start + piece] for start in range(0, len(data), piece)]
    return b"".join(quoted_printable.encoded(pieces))


@given(
    st.binary(max_size=600) | st.text(alphabet=" =.From\r\nx\té", max_size=600).map(str.encode),
    st.integers(1, 700),
)
@example(b"=" * 200, 7)
@example(b"x \r\n\xff\t\r\n" * 9, 700)
@example(b"one\rtwo\r\n", 700)
@example(b"x\r\nFrom y\r\n.z\r\n", 700)
@example(b"x" * 80 + b"From y\r\n", 700)
@example((b"x" * 75 + b".") * 3 + b"\r\n", 700)
@example(b"x" * 75 + b"\xff", 7)
@example(b"x" * 72 + b"From y" + b"x" * 90, 7)
@example(b"." * 200, 7)
def test_every_octet_comes_back(data: bytes, piece: int) -> None:
    """Any octets are decoded to themselves, in lines that RFC 2045 section 6.7 allows and nobody touches."""
    text = _encoded(data, piece)

    assert quopri.decodestring(text.replace(b"\r\n", b"\n")) == data.replace(b"\r\n", b"\n")
    for line in text.split(b"\r\n"):
        assert len(line) <= 76
        assert line.isascii()
        assert b"\r" not in line
        assert b"\n" not in line
        assert not line.startswith((b"From ", b"."))
        assert line[-1:] not in {b" ", b"\t"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\r\nlines\r\n", b"plain\r\nlines\r\n"),
        ("Grüße = \r\n".encode(), b"Gr=C3=BC=C3=9Fe =3D=20\r\n"),
        (b"From me\r\n.\r\n", b"=46rom me\r\n=2E\r\n"),
        (b"bare\rand\nhere", b"bare=0Dand=0Ahere"),
        (b"x" * 80, b"x" * 75 + b"=\r\n" + b"x" * 5),
    ],
)
def test_how_it_looks(data: bytes, text: bytes) -> None:
    """Text stays readable; only what must be is escaped."""
    assert _encoded(data) == text
    assert _encoded(data, len(data)) == text
