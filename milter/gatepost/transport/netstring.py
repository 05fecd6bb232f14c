"""
Netstrings, `LENGTH:TEXT,`: the frames of the socketmap protocol (socketmap_table(5)), in both directions.
"""

_MAX_DIGITS = 9
_COMMA = 0x2C


class NetstringError(ValueError):
    """What came is no netstring, or is longer than is taken."""


def encoded(text: bytes) -> bytes:
    """Frame a text."""
    return b"%d:%b," % (len(text), text)


def take(received: bytes | bytearray, start: int, most: int) -> tuple[bytes, int] | None:
    """
    Read the netstring that begins at `start`: its text, and where the next one begins.

    None as long as it is not complete; raises NetstringError as soon as it shows that it never will be one, or one
    of more than `most` octets.
    """
    colon = received.find(b":", start, start + _MAX_DIGITS + 1)
    digits = received[start : colon if colon >= 0 else start + _MAX_DIGITS + 1]
    if not digits and colon < 0:
        return None
    if not digits.isdigit():
        raise NetstringError("it does not begin with a length")
    size = int(digits)
    if size > most:
        raise NetstringError(f"its {size} octets are more than {most}")
    end = colon + 1 + size
    if colon < 0 or len(received) <= end:
        return None
    if received[end] != _COMMA:
        raise NetstringError("it does not end with a comma")
    return bytes(received[colon + 1 : end]), end + 1
