"""
BER, read: hostile octets into elements, definite and indefinite lengths alike (X.690 section 8.1).

The octets are read to the last, to a bounded depth and number of elements. Contents are views of the data that was
given: nothing is copied.
"""

from mmap import mmap
from typing import NamedTuple

_MAX_DEPTH = 32
_MAX_ELEMENTS = 200_000  # writers that stream cut the content into pieces of about 1000 octets
_MAX_LENGTH_OCTETS = 4

_CONSTRUCTED, _LONG_TAG = 0x20, 0x1F
_INDEFINITE = 0x80


class Element(NamedTuple):
    """One element: its tag's octet, its parts if constructed, and where it and its content stand in the data."""

    tag: int
    parts: "tuple[Element, ...]"
    data: memoryview
    first: int
    start: int
    end: int

    @property
    def octets(self) -> memoryview:
        """What stands in it, as written."""
        return self.data[self.start : self.end]

    @property
    def whole(self) -> bytes:
        """All of it, its tag and length included, as written."""
        return bytes(self.data[self.first : self.end])


class MalformedError(ValueError):
    """The octets are no BER that is read here."""


def read(data: bytes | mmap) -> Element:
    """Read the one element that the data is; raises MalformedError."""
    return _Walk(data).whole()


def tags(parts: tuple[Element, ...]) -> tuple[int, ...]:
    """Give the tags of elements."""
    return tuple([part.tag for part in parts])


class _Walk:
    """Reads elements one after the other."""

    def __init__(self, data: bytes | mmap) -> None:
        self._data = memoryview(data)
        self._position = 0
        self._left = _MAX_ELEMENTS

    def whole(self) -> Element:
        """Read the one element that the data is; raises MalformedError."""
        element = self._element(len(self._data), 0)
        if self._position != len(self._data):
            raise MalformedError
        return element

    def _element(self, end: int, depth: int) -> Element:
        self._left -= 1
        first = self._position
        tag = self._octet(end)
        if self._left < 0 or depth > _MAX_DEPTH or tag == 0 or tag & _LONG_TAG == _LONG_TAG:
            raise MalformedError
        length = self._length(end)
        if tag & _CONSTRUCTED:
            start = self._position
            parts = self._parts(end, length, depth + 1)
            return Element(tag, parts, self._data, first, start, self._position)
        if length is None:
            raise MalformedError
        start, self._position = self._position, self._position + length
        return Element(tag, (), self._data, first, start, self._position)

    def _length(self, end: int) -> int | None:
        """Read a length that fits before `end`; None is indefinite."""
        length = first = self._octet(end)
        if first == _INDEFINITE:
            return None
        if first > _INDEFINITE:
            count = first - _INDEFINITE
            if count > _MAX_LENGTH_OCTETS:
                raise MalformedError
            start, self._position = self._position, self._position + count
            length = int.from_bytes(self._data[start : self._position], "big")
        if length > end - self._position:
            raise MalformedError
        return length

    def _parts(self, end: int, length: int | None, depth: int) -> tuple[Element, ...]:
        parts = []
        if length is not None:
            end = self._position + length
            while self._position < end:
                parts.append(self._element(end, depth))
            return tuple(parts)
        while bytes(self._data[self._position : self._position + 2]) != b"\0\0":
            parts.append(self._element(end, depth))
        self._position += 2
        if self._position > end:
            raise MalformedError
        return tuple(parts)

    def _octet(self, end: int) -> int:
        if self._position >= end:
            raise MalformedError
        self._position += 1
        return self._data[self._position - 1]
