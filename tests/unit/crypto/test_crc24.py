"""The checksum of ASCII armor, from those of a message's pieces."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import crc24


def _plainly(data: bytes) -> int:
    """Compute it bit by bit, as RFC 9580 section 6.1.1 writes it."""
    crc = 0xB704CE
    for octet in data:
        crc ^= octet << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_pieces_have_the_checksum_of_the_whole(pieces: list[bytes]) -> None:
    """Joined piece by piece, the checksum is that of all octets in a row."""
    crc = crc24.EMPTY
    for piece in pieces:
        crc = crc24.joined(crc, _plainly(piece), len(piece))

    assert crc == _plainly(b"".join(pieces))
