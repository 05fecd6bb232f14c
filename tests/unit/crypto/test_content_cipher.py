"""Which cipher an envelope takes: what is announced, else what is set, never below the floor."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import capabilities
from gatepost.crypto.content_cipher import CIPHERS, chosen

NAMES = list(CIPHERS)  # the weakest first
GCM, CBC, WEAK = ({CIPHERS[name].oid} for name in ("aes256-gcm", "aes256-cbc", "aes128-cbc"))
OTHER = {b"\x06\x01\x2a"}


@pytest.mark.parametrize(
    ("announced", "default", "floor", "name"),
    [
        ([set()], "aes256-cbc", "", "aes256-cbc"),
        ([GCM], "aes256-cbc", "", "aes256-gcm"),
        ([GCM | CBC, CBC | WEAK], "aes128-cbc", "", "aes256-cbc"),
        ([GCM, set()], "aes256-cbc", "", "aes256-cbc"),
        ([GCM, CBC], "aes128-cbc", "", "aes128-cbc"),
        ([WEAK], "aes256-gcm", "", "aes128-cbc"),
        ([OTHER], "aes256-cbc", "", "aes256-cbc"),
        ([WEAK], "aes256-cbc", "aes256-cbc", "aes256-cbc"),
        ([WEAK], "aes256-cbc", "aes256-gcm", "aes256-gcm"),
        ([GCM], "aes256-cbc", "aes128-cbc", "aes256-gcm"),
        ([set()], "aes128-cbc", "aes256-gcm", "aes256-gcm"),
    ],
)
def test_which_cipher(announced: list[set[bytes]], default: str, floor: str, name: str) -> None:
    """The strongest that all announced, else the one that is set; the floor lifts either."""
    assert chosen(map(frozenset, announced), CIPHERS[default], floor).name == name


@given(
    st.lists(st.frozensets(st.sampled_from([one.oid for one in CIPHERS.values()] + [b"x"])), max_size=4),
    st.sampled_from(NAMES),
    st.sampled_from(["", *NAMES]),
)
def test_never_below_the_floor(announced: list[frozenset[bytes]], default: str, floor: str) -> None:
    """Whatever is announced, nothing weaker than the floor is taken, and order does not matter."""
    found = {chosen(order, CIPHERS[default], floor).name for order in itertools.permutations(announced)}

    assert len(found) == 1
    assert not floor or NAMES.index(found.pop()) >= NAMES.index(floor)


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x02\x05\x00", b"\x30\x84", b"x" * 40, b"\x30\x02\x30\x00"])
def test_what_is_no_announcement(data: bytes) -> None:
    """What cannot be read announces nothing."""
    assert capabilities.announced(data) == frozenset()
