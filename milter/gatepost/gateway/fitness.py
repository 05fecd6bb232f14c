"""
Whether mail may be encrypted to a key now.

Rules:
  * What the key says of itself counts for every key.
  * A certificate of trust `ca` is good while authorities vouch for it, and only for whom it names: its own
    address, or, under a domain, an address of that domain (a gateway's names
    domain-confidentiality-authority@DOMAIN, RFC 3183). For any other trust, whoever imported the key
    vouches for it and for whom it is.
"""

from gatepost.crypto import guard
from gatepost.crypto.certificate import Certificate, Reader
from gatepost.crypto.certification import Certification
from gatepost.directory.key import Key, Trust
from gatepost.errors import CryptoError

_OF_AUTHORITIES = "smime"  # the kind of key that authorities vouch for


class Fitness:
    """Judges keys. Thread-safe; asking authorities takes no longer than their deadline."""

    def __init__(self, reader: Reader, certification: Certification) -> None:
        self._reader = reader
        self._certification = certification

    def refusal(self, key: Key) -> str:
        """Tell why mail must not be encrypted to a key; empty if it may."""
        try:
            found = self._reader.read(key.certificate)[0]
        except CryptoError as error:
            return str(error)
        if found.refusal or key.kind != _OF_AUTHORITIES or key.trust is not Trust.CA:
            return found.refusal
        return _unnamed(found, key.owner) or self._certification.judge(key.certificate).refusal


def _unnamed(found: Certificate, owner: str) -> str:
    """Tell that a certificate names neither the address nor the domain; empty if it does."""
    if "@" in owner:
        named = guard.bound_to(found, owner)
    else:
        named = any(address.rpartition("@")[2] == owner for address in found.addresses)
    return "" if named else f"it does not name {owner}, and an authority vouches only for whom it names"
