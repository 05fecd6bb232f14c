"""
Message-IDs, read generously from the fields that carry them.

What one program writes beside an ID (a comment, a fold) or leaves out (the brackets) must not keep the answer to
it from being recognised: an ID is what stands in angle brackets; where nothing does, each word is one.
RFC 5322 section 3.6.4.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from gatepost.message.field import Field

_BRACKETED = re.compile(rb"<[^<>\s]{1,990}>")
_WORD = re.compile(rb"[^\s<>(),;\"]{1,990}")


def named_in(fields: Iterable[Field]) -> tuple[str, ...]:
    """Give every Message-ID that these fields name, in order, each once, with its brackets."""
    return _named(tuple([field.value for field in fields]))


@lru_cache(maxsize=256)  # a message is asked several times on its way
def _named(values: tuple[bytes, ...]) -> tuple[str, ...]:
    found: dict[bytes, None] = {}
    for value in values:
        found.update(dict.fromkeys(_BRACKETED.findall(value) or _words(value)))
    return tuple([one.decode("utf-8", "surrogateescape") for one in found])


def _words(value: bytes) -> list[bytes]:
    return [b"<" + word + b">" for word in _WORD.findall(value)]
