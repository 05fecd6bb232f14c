"""
OpenPGP signatures of outgoing mail: made by Sequoia in this process, or by gpg.

Rules:
  * No private RSA key is used by Sequoia, whose RSA leaks timing (RUSTSEC-2023-0071): gpg signs with those.
  * What is larger than a few hundred KiB is signed by gpg too, which reads it in pieces.
  * A key that is revoked or has expired signs nothing; whatever else Sequoia refuses, gpg judges.

Lives only in the key worker. Sequoia takes a tenth of a millisecond for a small mail, gpg some ten milliseconds.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import IO

import pysequoia
from pysequoia import SignatureMode, Tsk
from pysequoia.packet import PacketPile

from gatepost.crypto.own_signature import Signature, SignatureMaker
from gatepost.crypto.sequoia import Parsed, parse
from gatepost.errors import CryptoError

_ON_THE_SPOT = 256 << 10  # octets
_REMEMBERED = 256
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})

_parsed = lru_cache(_REMEMBERED)(parse)


class OpenpgpSigner:
    """Implements SignatureMaker for OpenPGP. Thread-safe."""

    def __init__(self, gpg: SignatureMaker) -> None:
        """Take what signs with the keys, and the messages, that Sequoia does not."""
        self._gpg = gpg

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        """Sign what stands in a file with one transferable private key; raises CryptoError, WorkerError."""
        found = _on_the_spot(source, private) if source.seek(0, 2) <= _ON_THE_SPOT else None
        return found or self._gpg.sign(source, private)


def _on_the_spot(source: IO[bytes], private: bytes) -> Signature | None:
    """Sign with Sequoia; None where that is left to gpg. Raises CryptoError for a key that must not sign."""
    try:
        key = Tsk.from_bytes(private)
        (own,) = _parsed(bytes(key.extract_certificate()))
        if why := own.primary.fault(datetime.now(UTC)):
            raise CryptoError(f"mail cannot be signed: the key is {why}")
        if own.fault or _holds_rsa(own):
            return None
        source.seek(0)
        made = pysequoia.sign(key.signer(), source.read(), mode=SignatureMode.DETACHED)
        (packet,) = PacketPile.from_bytes(made)
    except (RuntimeError, ValueError):
        return None
    digest = str(packet.hash_algorithm).rpartition(".")[2].lower()
    return Signature(made, f"pgp-{digest}") if digest in _DIGESTS else None


def _holds_rsa(own: Parsed) -> bool:
    return any(one.algorithm == "RSA" for one in (own.primary, *own.subkeys))
