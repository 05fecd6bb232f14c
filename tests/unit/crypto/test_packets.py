"""Base64 and ASCII armor, read piece by piece."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import packets


@given(
    st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 90), st.sampled_from(b" \t\r\n"))), st.integers(1, 9)
)
def test_white_space_and_pieces_change_nothing(data: bytes, blanks: list[tuple[int, int]], piece: int) -> None:
    """However it is broken into lines, and wherever a piece ends, it decodes to what was encoded."""
    text = bytearray(base64.b64encode(data))
    for place, blank in blanks:
        text.insert(place, blank)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "_PIECE", piece)
        assert packets.from_base64(bytes(text)) == data
        assert packets.from_base64(b"<" + bytes(text) + b">", 1, len(text) + 1) == data


@given(st.integers(1, 9))
@pytest.mark.parametrize(
    "text", [b"YQ==YQ==", b"YQ==\nYQ==", b"YWJj\0", b"YWJj!", b"YWJ", b"Y=Q=", b"YQ=", b"YQ==Y"]
)
def test_what_is_no_base64_is_refused(text: bytes, piece: int) -> None:
    """Other characters, padding that is missing or not at the end: nothing comes of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "_PIECE", piece)
        assert packets.from_base64(text) is None


@pytest.mark.parametrize("around", [b"", b"\r\n", b" \t\n" * 3])
def test_white_space_around_armor_is_passed_over(around: bytes) -> None:
    """An armored message may stand between blank lines."""
    armor = b"-----BEGIN PGP MESSAGE-----\nComment: x\n\nYWJj\n=abcd\n-----END PGP MESSAGE-----"

    assert packets.dearmor(around + armor + around) == b"abc"
    assert packets.dearmor(around + armor + around + b".") is None
    assert packets.dearmor(b"." + around + armor) is None
