"""The author of a message."""

import pytest

from gatepost.message.author import author
from gatepost.message.field import Field


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" alice@Hosp.TEST", "alice@hosp.test"),
        (b" Alice <alice@hosp.test>", "alice@hosp.test"),
        (b' "Smith, Alice" <alice@hosp.test>', "alice@hosp.test"),
        (b" =?utf-8?q?=C3=84?= <alice@hosp.test>", "alice@hosp.test"),
        (b" Alice\n <alice@hosp.test>", "alice@hosp.test"),
        (b" boss@hosp.test <mallory@evil.test>", ""),
        (b" alice@hosp.test, bob@hosp.test", ""),
        (b" Alice <alice@hosp.test> <bob@hosp.test>", ""),
        (b" group: alice@hosp.test;", ""),
        (b' "Alice@hosp.test" <alice@hosp.test>', "alice@hosp.test"),
        (b" \"'alice@hosp.test'\" <alice@hosp.test>", "alice@hosp.test"),
        (b' "boss@hosp.test" <mallory@evil.test>', ""),
        (b' "boss\\@hosp.test" <mallory@evil.test>', ""),
        (b" =?utf-8?q?boss=40hosp.test?= <mallory@evil.test>", ""),
        (b" =?utf-8?b?Ym9zc0Bob3NwLnRlc3Q=?= <mallory@evil.test>", ""),
        (" boss\uff20hosp.test <mallory@evil.test>".encode(), ""),
        (b' "boss@hosp.test via x" <mallory@evil.test>', ""),
        (b" boss, <mallory@evil.test>", ""),
        (b" boss: <mallory@evil.test>", ""),
        (b" boss@hosp.test\0 <mallory@evil.test>", ""),
        (b" mallory@evil.test\x01", ""),
        (b" mallory@evil.test (boss@hosp.test)", ""),
        (b" alice", ""),
        (b"", ""),
        (b" " + b"<" * 3000, ""),
    ],
)
def test_reads_one_plain_author(value: bytes, expected: str) -> None:
    """Only one address, plainly written, is an author."""
    assert expected == author([Field(b"From", value)])


def test_two_from_fields_have_no_author() -> None:
    """A second From field must not lend a signature to somebody else."""
    assert not author([Field(b"From", b" a@b.test"), Field(b"from", b" c@d.test")])
