"""
Header fields as raw bytes, never re-serialised.

`value` is everything after the colon, its leading space included; a folded value holds LF and white space
between its lines, as the milter protocol shows it. RFC 5322 section 2.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Field:
    """
    One header field as received.

    `key` is the name for comparing: lower case, without blanks before the colon (RFC 5322 section 4.5). Fields are
    compared a hundred times in a message's life, so it is made once.
    """

    name: bytes
    value: bytes
    key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.name.rstrip(b" \t").lower())

    def wire(self) -> bytes:
        """Give the field as it stands on the wire, with CRLF line ends."""
        return self.name + b":" + self.value.replace(b"\n", b"\r\n") + b"\r\n"


def named(fields: Iterable[Field], name: bytes) -> tuple[Field, ...]:
    """Pick all fields of that name, in order; `name` in lower case."""
    return tuple([item for item in fields if item.key == name])


def unfold(value: bytes) -> bytes:
    """Take the line ends out of a folded value (RFC 5322 section 2.2.3)."""
    return value.replace(b"\r", b"").replace(b"\n", b"")
