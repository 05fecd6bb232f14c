"""
Codes that prove stamps: HMAC-SHA256 (RFC 2104).

Their key is derived from the secret `keys` (HKDF, RFC 5869) for this purpose alone.
"""

import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PAIR = 64  # octets: a statement's SHA-256, then its code
_PURPOSE = b"gatepost stamps of events"


class Prover:
    """Makes codes and tells whether one is right. Thread-safe."""

    def __init__(self, secret: bytes) -> None:
        """Take the private half of the secret `keys`, raw."""
        self._key = HKDF(hashes.SHA256(), 32, salt=None, info=_PURPOSE).derive(secret)

    def code(self, statement: bytes) -> bytes:
        """Give the code of a statement's SHA-256."""
        return hmac.digest(self._key, statement, "sha256")

    def proves(self, statement: bytes, code: bytes) -> bool:
        """Tell whether a code is the one of a statement's SHA-256."""
        return hmac.compare_digest(self.code(statement), code)

    def check(self, pairs: bytes) -> bytes:
        """Check statements and codes, `PAIR` octets each; gives an octet for each: 1 where they agree, else 0."""
        half = PAIR // 2
        found = (pairs[start : start + PAIR] for start in range(0, len(pairs), PAIR))
        return bytes(self.proves(one[:half], one[half:]) for one in found)
