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


ARMOR = b"-----BEGIN PGP MESSAGE-----\n\nYWJj\n=abcd\n-----END PGP MESSAGE-----"


@pytest.mark.parametrize(
    "data",
    [
        ARMOR.replace(b"MESSAGE", b"PRIVATE"),
        ARMOR.replace(b"BEGIN PGP MESSAGE", b"BEGIN PGP PRIVATE"),
        ARMOR.replace(b"-----\n\nYWJj", b"-----\nYWJj"),
        ARMOR.replace(b"-----\n\nYWJj", b"-----YWJj"),
        ARMOR[: -len(b"-----END PGP MESSAGE-----")] + b"A" * 24 + b"=",
        ARMOR.replace(b"\n=abcd", b"\n=abcd="),
    ],
)
def test_what_is_no_armored_message(data: bytes) -> None:
    """Another kind of armor, a missing blank line or end, or a checksum of another length: it is no message."""
    assert packets.dearmor(data) is None


def test_a_checksum_is_not_needed_and_no_data() -> None:
    """The checksum is left out of the data, whether it is there or not (RFC 9580 section 6.1)."""
    assert packets.dearmor(ARMOR) == b"abc"
    assert packets.dearmor(ARMOR.replace(b"\n=abcd", b"")) == b"abc"
    assert packets.dearmor(ARMOR.replace(b"YWJj", b"YWJj" * 5000)) == b"abc" * 5000


@pytest.mark.parametrize("first", [0x80, 0x81, 0xFF])
def test_binary_data_needs_no_armor(first: int) -> None:
    """A packet begins with an octet whose highest bit is set (section 4.2): no text does."""
    data = bytes((first, 0))

    assert packets.dearmor(data) is data


def packet(tag: int, content: bytes = b"abc") -> bytes:
    return bytes((0xC0 | tag, len(content))) + content


def old(tag: int, length: bytes, size: int) -> bytes:
    """Write a packet of the old format; a length of no octets is indeterminate."""
    kind = {0: 3, 1: 0, 2: 1, 4: 2}[len(length)]
    return bytes((0x80 | tag << 2 | kind,)) + length + bytes(size)


PKESK, SKESK, MARKER, SEIPD, OCB, PADDING = 1, 3, 10, 18, 20, 21
LITERAL, COMPRESSED, SIGNATURE, WITHOUT_INTEGRITY = 11, 8, 2, 9


@pytest.mark.parametrize(
    "tags",
    [
        (PKESK, SEIPD),
        (SKESK, SEIPD),
        (PKESK, OCB),
        (PKESK, SKESK, PKESK, SEIPD),
        (MARKER, PKESK, SEIPD, PADDING),
        (PADDING, PKESK, MARKER, SEIPD),
    ],
)
def test_encrypted_messages(tags: tuple[int, ...]) -> None:
    """Session keys and then one packet with integrity; markers and padding mean nothing (section 10.3)."""
    assert packets.is_encrypted_message(b"".join(map(packet, tags)))


@pytest.mark.parametrize(
    "tags",
    [
        (SEIPD,),
        (PKESK,),
        (PKESK, PKESK),
        (LITERAL, SEIPD),
        (LITERAL, PKESK, SEIPD),
        (PKESK, LITERAL, SEIPD),
        (PKESK, SEIPD, LITERAL),
        (PKESK, SEIPD, SEIPD),
        (PKESK, COMPRESSED),
        (SIGNATURE, SEIPD),
        (PKESK, WITHOUT_INTEGRITY),
        (MARKER, SEIPD),
    ],
)
def test_other_messages(tags: tuple[int, ...]) -> None:
    """A packet in clear anywhere, none that is protected, or none with a session key: it is not encrypted."""
    assert not packets.is_encrypted_message(b"".join(map(packet, tags)))


def test_without_integrity() -> None:
    """The old packet is told for what it is where it is asked for, and the new ones are not it."""
    old, new = (b"".join(map(packet, (PKESK, tag))) for tag in (WITHOUT_INTEGRITY, SEIPD))

    assert packets.is_encrypted_message(old, packets.UNPROTECTED)
    assert not packets.is_encrypted_message(new, packets.UNPROTECTED)


@pytest.mark.parametrize(
    "protected",
    [
        bytes((0xD2, 191)) + bytes(191),
        bytes((0xD2, 192, 0)) + bytes(192),
        bytes((0xD2, 193, 5)) + bytes(192 + 256 + 5),
        bytes((0xD2, 223, 255)) + bytes(8383),
        bytes((0xD2, 255)) + (70_000).to_bytes(4, "big") + bytes(70_000),
        bytes((0xD2, 224)) + bytes(1) + bytes((1,)) + bytes(1),
        bytes((0xD2, 225)) + bytes(2) + bytes((233,)) + bytes(512) + bytes((192, 8)) + bytes(200),
        bytes((0xD2, 240)) + bytes(1 << 16) + bytes((0,)),
        old(SKESK, bytes((3,)), 3) + packet(SEIPD),
        old(PKESK, bytes((1, 2)), 258) + packet(SEIPD),
        old(PKESK, bytes((0, 1, 0, 2)), 65_538) + packet(SEIPD),
    ],
)
def test_every_way_to_write_a_length(protected: bytes) -> None:
    """All lengths of sections 4.2.1 and 4.2.2 are followed to the last octet: none may be missing or follow."""
    data = packet(PKESK) + protected

    assert packets.is_encrypted_message(data)
    assert not packets.is_encrypted_message(data[:-1])
    assert not packets.is_encrypted_message(data + b"a")


def test_a_length_that_is_cut_off() -> None:
    """A packet whose length is not there whole is no packet."""
    for end in (
        bytes((0xD2,)),
        bytes((0xD2, 192)),
        bytes((0xD2, 255)),
        bytes((0xD2, 224)),
        bytes((0xD2, 255, 0, 0)),
    ):
        assert not packets.is_encrypted_message(packet(PKESK) + end)


def test_an_indeterminate_length_reaches_to_the_end() -> None:
    """Of an old-format packet without a length nothing can follow: what comes behind it belongs to it."""
    assert not packets.is_encrypted_message(old(PKESK, b"", 3) + packet(SEIPD))


def test_what_looks_like_a_length_there_is_content() -> None:
    """A packet of indeterminate length has no octets of length that could let another packet follow."""
    assert not packets.is_encrypted_message(old(PKESK, b"", 0) + (3).to_bytes(8, "big") + b"abc" + packet(SEIPD))


def test_every_octet_of_a_length_counts() -> None:
    """A packet that claims 16 MiB more than is there is cut off."""
    behind = bytes((0xC0 | SEIPD, 255, 1, 0, 0, 3)) + b"abc"

    assert not packets.is_encrypted_message(packet(PKESK) + behind)


def test_packets_without_number_are_not_read() -> None:
    """More packets than any honest message has make it none."""
    assert packets.is_encrypted_message(packet(PKESK) * 4998 + packet(SEIPD))
    assert not packets.is_encrypted_message(packet(PKESK) * 4999 + packet(SEIPD))


@pytest.mark.parametrize("octet", [0x52, 0x53, 0x12, 0x04, 0x41, 0x43, 0x05])
def test_what_begins_no_packet(octet: int) -> None:
    """Without its highest bit an octet begins no packet (section 4.2), whatever tag the others spell."""
    behind = bytes((octet, 3)) + b"abc"

    assert not packets.is_encrypted_message(packet(PKESK) + behind)
    assert not packets.is_encrypted_message(packet(PKESK) + packet(SEIPD) + behind)
    assert not packets.is_encrypted_message(behind + packet(SEIPD))
