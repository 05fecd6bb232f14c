"""
Codes that prove stamps: HMAC-SHA256 (RFC 2104).

Their key is derived from the secret `keys` (HKDF, RFC 5869) for this purpose alone. Once that was rotated, what
was proved under an earlier one is proved under its derived key, which opens nothing.
"""

import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PAIR = 64  # octets: a statement's SHA-256, then its code
_PURPOSE = b"gatepost stamps of events"


def key_of(secret: bytes) -> bytes:
    """Derive the codes' key from the private half of the secret `keys`, raw."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=_PURPOSE).derive(secret)


class Prover:
    """Makes codes and tells whether one is right. Thread-safe."""

    def __init__(self, secret: bytes, earlier: Sequence[bytes] = ()) -> None:
        """Take the private half of the secret `keys`, raw, and the derived keys of those before it."""
        self._keys = (key_of(secret), *earlier)

    def code(self, statement: bytes) -> bytes:
        """Give the code of a statement's SHA-256."""
        return hmac.digest(self._keys[0], statement, "sha256")

    def proves(self, statement: bytes, code: bytes) -> bool:
        """Tell whether a code is the one of a statement's SHA-256."""
        return any(hmac.compare_digest(hmac.digest(key, statement, "sha256"), code) for key in self._keys)

    def check(self, pairs: bytes) -> bytes:
        """Check statements and codes, `PAIR` octets each; gives an octet for each: 1 where they agree, else 0."""
        half = PAIR // 2
        found = (pairs[start : start + PAIR] for start in range(0, len(pairs), PAIR))
        return bytes(self.proves(one[:half], one[half:]) for one in found)
