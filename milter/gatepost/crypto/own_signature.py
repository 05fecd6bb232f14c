"""
Signatures of outgoing mail: values, and the ports of who makes them.

A signature is detached: it is made over an entity in a file, which is read in pieces. What stands around both is
`multipart_signed.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Protocol

from gatepost.message.address import Address
from gatepost.message.body import Body

MAX_SIGNED = 512 << 20  # octets of an entity


@dataclass(frozen=True, slots=True)
class Signature:
    """
    A detached signature: CMS SignedData in DER, or OpenPGP in ASCII armor.

    `micalg` names its digest as multipart/signed does (RFC 8551 section 3.5.3.2, RFC 3156 section 5).
    """

    data: bytes
    micalg: str


class SignatureMaker(Protocol):
    """Signs with private keys; lives only in the key worker. Thread-safe."""

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        """
        Sign what stands in a file with one private half, as it is kept.

        Raises CryptoError for a key that may not sign now, WorkerError where it cannot be tried.
        """


class Signatory(Protocol):
    """Has mail signed by whoever holds the private keys. Thread-safe."""

    def sign(
        self,
        entity: Body,
        kind: str,
        author: Address,
        sender: Address,
        *,
        seconds: float,
        on_wait: Callable[[], object],
    ) -> Signature | None:
        """
        Sign an entity with a key of that kind ("openpgp" or "smime") of its author, or of the author's domain;
        `sender` is the envelope's.

        None where there is no such key that may be used now. Waits for so many seconds at most, and calls
        `on_wait` about every 5 s meanwhile; what that raises ends the wait. Raises WorkerError where nobody
        answered.
        """
