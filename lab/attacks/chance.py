"""Octets that look random and are the same each time."""

from hashlib import sha256


class Chance:
    """Gives octets that depend on a name, and on how many were given before."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0

    def octets(self, count: int) -> bytes:
        """Give so many octets."""
        found = b""
        while len(found) < count:
            self._number += 1
            found += sha256(f"{self._name}/{self._number}".encode()).digest()
        return found[:count]

    def padded(self, secret: bytes, size: int) -> bytes:
        """Pad a secret for RSA encryption (RFC 8017 section 7.2.1) to so many octets."""
        padding = self.octets(size - 3 - len(secret)).replace(b"\0", b"\1")
        return b"\0\2" + padding + b"\0" + secret
