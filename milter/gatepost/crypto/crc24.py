"""
The checksum of ASCII armor (RFC 9580 section 6.1.1), joined from those of a message's pieces.

A CRC is linear: a piece's share is its own checksum, multiplied by x for each bit that follows it. So what a
library says of each piece is enough, and no octet is looked at twice.
"""

EMPTY = 0xB704CE  # of nothing
_POLYNOMIAL = 0x1864CFB
_BITS = 24


def joined(first: int, second: int, length: int) -> int:
    """Give the checksum of two pieces together, from theirs and the second's length in octets."""
    return _product(first ^ EMPTY, _power(8 * length)) ^ second


def _power(exponent: int) -> int:
    """Give x to the power of so many, modulo the polynomial."""
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = _product(result, base)
        base = _product(base, base)
        exponent >>= 1
    return result


def _product(one: int, other: int) -> int:
    """Multiply two polynomials over GF(2), modulo the polynomial."""
    result = 0
    while other:
        if other & 1:
            result ^= one
        other >>= 1
        one <<= 1
        if one >> _BITS:
            one ^= _POLYNOMIAL
    return result
