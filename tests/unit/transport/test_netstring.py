"""Netstrings: read whole however they are cut, and refused as soon as they cannot be one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.transport.netstring import NetstringError, encoded, take


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50))
def test_requests_come_however_cut(texts: list[bytes], step: int) -> None:
    """Requests are read whole and in order, whatever pieces they come in."""
    stream = b"".join(b"%d:%b," % (len(text), text) for text in texts)
    received, found = bytearray(), []
    for start in range(0, len(stream), step):
        received += stream[start : start + step]
        while taken := take(received, 0, 10_000):
            found.append(taken[0])
            del received[: taken[1]]
    assert found == texts
    assert not received


@pytest.mark.parametrize("data", [b"x", b":x,", b"3:abcd", b"-1:", b" 3:abc,", b"10001:", b"999999", b"3;abc,"])
def test_wrong_requests(data: bytes) -> None:
    """What is no netstring, or too long, is refused as soon as it shows."""
    with pytest.raises(NetstringError):
        take(data, 0, 10_000)


@given(st.binary(max_size=40))
def test_no_request_crashes(data: bytes) -> None:
    """Any bytes give a text, nothing yet, or a NetstringError."""
    with contextlib.suppress(NetstringError):
        take(data, 0, 10_000)


@given(st.binary(max_size=300), st.binary(max_size=10))
def test_round_trip(text: bytes, behind: bytes) -> None:
    """What was framed is read back, whatever stands behind it."""
    framed = encoded(text)
    assert take(framed + behind, 0, 300) == (text, len(framed))
