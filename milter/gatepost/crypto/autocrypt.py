"""
Autocrypt fields: a sender's OpenPGP key beside the message, for whoever answers (Autocrypt Level 1, section 3.1).
"""

import base64

from gatepost.message.field import Field

NAME = b"Autocrypt"
_MOST = 10 << 10  # octets, as section 3.1 advises
_LINE = 76


def field(address: str, certificate: bytes) -> Field | None:
    """Write the field for an address, as it stands in From; None where it cannot be written or is too large."""
    text = base64.b64encode(certificate)
    if not address.isascii() or ";" in address or len(text) > _MOST:
        return None
    lines = (text[start : start + _LINE] for start in range(0, len(text), _LINE))
    head = b" addr=" + address.encode("ascii") + b"; prefer-encrypt=mutual;\n keydata="
    return Field(NAME, head + b"".join([b"\n " + line for line in lines]))
