"""What re-injection puts on the wire."""

from hypothesis import given
from hypothesis import strategies as st

from gatepost.mta.reinjection import _stuffed


def unstuffed(wire: bytes) -> bytes:
    """Read DATA as a server does (RFC 5321 section 4.5.2) that takes a bare LF for a line end as well."""
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    inner = wire[: -len(b".\r\n")]
    assert not any(line.rstrip(b"\r") == b"." for line in inner.split(b"\n"))
    return (b"\n" + inner).replace(b"\n..", b"\n.")[1:]


@given(st.lists(st.text(alphabet=".\r\nab").map(str.encode)))
def test_content_arrives_whole_and_never_ends_the_message(chunks: list[bytes]) -> None:
    """Wherever chunks are cut, dots at the beginning of lines are doubled and nothing is lost."""
    content = b"".join(chunks)

    arrived = unstuffed(b"".join(_stuffed(iter(chunks))))

    assert arrived == (content if content.endswith(b"\r\n") else content + b"\r\n")
