"""Message-IDs."""

import pytest

from gatepost.message.field import Field
from gatepost.message.message_id import named_in


@pytest.mark.parametrize(
    "value", [b" <a@b>", b" <a@b> (from a list)", b"\n <a@b>", b" a@b", b" < a@b >", b" a@b;", b' "x" <a@b>']
)
def test_an_id_is_the_same_however_it_is_written(value: bytes) -> None:
    """A comment, a fold or missing brackets do not hide that a message belongs to a conversation."""
    assert "<a@b>" in named_in([Field(b"Message-ID", value)])


def test_all_are_given_in_order_once() -> None:
    """References name many, and fields may repeat."""
    fields = [Field(b"References", b" <a@b>\n <c@d> <a@b>"), Field(b"In-Reply-To", b" <e@f>")]

    assert ("<a@b>", "<c@d>", "<e@f>") == named_in(fields)


def test_octets_beyond_ascii_are_kept_apart() -> None:
    """Two IDs that differ in one octet stay two."""
    assert named_in([Field(b"References", b" <\xe4@b>")]) != named_in([Field(b"References", b" <\xe5@b>")])
    assert () == named_in([Field(b"References", b"  ")])
