"""
Content ciphers: which there are, and which one an envelope takes.

Rules:
  * Where every certificate's holder announced what they read, it is the strongest that all of them announced.
  * Else, or where they announced nothing in common, it is the settings' cipher.
  * It is never weaker than the floor, whatever was announced.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gatepost.crypto import der


@dataclass(frozen=True, slots=True)
class ContentCipher:
    """How content is encrypted: its name in the settings, its OID in DER, the octets of its key, its mode."""

    name: str
    oid: bytes
    key_octets: int
    authenticated: bool


_ALL = (  # the weakest first
    ContentCipher("aes128-cbc", der.oid("2.16.840.1.101.3.4.1.2"), 16, authenticated=False),
    ContentCipher("aes256-cbc", der.oid("2.16.840.1.101.3.4.1.42"), 32, authenticated=False),
    ContentCipher("aes256-gcm", der.oid("2.16.840.1.101.3.4.1.46"), 32, authenticated=True),
)
CIPHERS = {one.name: one for one in _ALL}


def chosen(announced: Iterable[frozenset[bytes]], default: ContentCipher, floor: str) -> ContentCipher:
    """
    Choose the cipher for recipients who announced these algorithms, as OIDs in DER; an empty set: nobody knows.

    `floor` is empty or the name of the weakest that may be taken.
    """
    sets = tuple(announced)
    common = frozenset.intersection(*sets) if sets else frozenset()
    found = next((one for one in reversed(_ALL) if one.oid in common), default)
    least = CIPHERS[floor] if floor else found
    return max(found, least, key=_ALL.index)
