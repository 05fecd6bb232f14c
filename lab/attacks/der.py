"""DER, written: as much as CMS needs (X.690 section 10)."""


def element(tag: int, *parts: bytes) -> bytes:
    """Write one element."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 - X.690 section 8.1.3.4
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def endless(tag: int, *parts: bytes) -> bytes:
    """Write one element with an indefinite length, as BER allows."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


def sequence(*parts: bytes) -> bytes:
    """Write a SEQUENCE."""
    return element(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    """Write a SET OF."""
    return element(0x31, *sorted(parts))


def octets(content: bytes) -> bytes:
    """Write an OCTET STRING."""
    return element(0x04, content)


def integer(number: int) -> bytes:
    """Write an INTEGER that is not negative."""
    return element(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """Write an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytes((first * 40 + second,))
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.insert(0, number & 0x7F | 0x80)
        content += bytes(groups)
    return element(0x06, content)
