"""
DER: as much of it as CMS and certificates need, written and taken apart (X.690).

Writing gives bytes at once; prepared parts are put together without a tree of objects. Reading is for what another
library has accepted already: it tells where elements begin and end.
"""

from collections.abc import Iterator

_LONG = 0x80
_MAX_LENGTH_OCTETS = 4


def element(tag: int, content: bytes) -> bytes:
    """Write one element; `tag` is its identifier octet."""
    return head(tag, len(content)) + content


def head(tag: int, size: int) -> bytes:
    """Write the identifier and length of an element whose content follows."""
    if size < _LONG:
        return bytes((tag, size))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(octets))) + octets


def sequence(*parts: bytes) -> bytes:
    """Write a SEQUENCE of parts that are written already."""
    return element(0x30, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """Write a SET OF, in the order of DER (X.690 section 11.6)."""
    return element(0x31, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    """Write an INTEGER that is not negative."""
    return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(value: bytes) -> bytes:
    """Write an OCTET STRING."""
    return element(0x04, value)


def bits(value: bytes) -> bytes:
    """Write a BIT STRING of whole octets."""
    return element(0x03, b"\0" + value)


def oid(dotted: str) -> bytes:
    """Write an OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return element(0x06, b"".join(_base_128(arc) for arc in (first * 40 + second, *rest)))


def explicit(number: int, content: bytes) -> bytes:
    """Write a context-specific, constructed element around others: `[number]`."""
    return element(0xA0 | number, content)


def _base_128(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(_LONG | value & 0x7F)
    return bytes(reversed(groups))


def parts(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """
    Take apart what stands in a constructed element, or one after the other.

    Gives of each element its identifier octet, the whole of it, and its content; raises ValueError where they do
    not fill the data exactly.
    """
    position = 0
    while position < len(data):
        start = position
        tag, size = data[position], data[position + 1] if position + 1 < len(data) else _LONG
        position += 2
        if size >= _LONG:
            count = size - _LONG
            if not 0 < count <= _MAX_LENGTH_OCTETS:
                raise ValueError("an element has no definite length that is read here")
            size = int.from_bytes(data[position : position + count], "big")
            position += count
        end = position + size
        if end > len(data):
            raise ValueError("an element is longer than what it stands in")
        yield tag, data[start:end], data[position:end]
        position = end


def content(data: bytes) -> bytes:
    """Give what stands in the one element that the data is; raises ValueError for anything else."""
    found = list(parts(data))
    if len(found) != 1:
        raise ValueError(f"{len(found)} elements, where one is expected")
    return found[0][2]
