"""
What a mail program can decrypt, as it announces it: SMIMECapabilities (RFC 8551 section 2.5.2, RFC 4262).
"""

from collections.abc import Iterator
from contextlib import suppress

from gatepost.crypto import der

_OID = 0x06
_OPENED = (  # best first: AES-256-GCM, AES-128-GCM, AES-256-CBC, AES-128-CBC
    "2.16.840.1.101.3.4.1.46",
    "2.16.840.1.101.3.4.1.6",
    "2.16.840.1.101.3.4.1.42",
    "2.16.840.1.101.3.4.1.2",
)
OURS = der.sequence(*(der.sequence(der.oid(one)) for one in _OPENED))  # what `opened_envelope` opens


def announced(capabilities: bytes) -> frozenset[bytes]:
    """Name the algorithms, as OIDs in DER; none where the data is no SMIMECapabilities in DER."""
    with suppress(ValueError):
        return frozenset(_first_oids(capabilities))
    return frozenset()


def _first_oids(capabilities: bytes) -> Iterator[bytes]:
    for _, _, capability in der.parts(der.content(capabilities)):
        tag, whole, _ = next(der.parts(capability), (0, b"", b""))
        if tag == _OID:
            yield whole
