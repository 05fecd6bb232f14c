"""
Detached OpenPGP signatures (RFC 3156 section 5), verified with Sequoia and judged by the guard.

Rules:
  * Every signature must be good; Sequoia alone would be content with one of several.
  * A key that is revoked, expired or weak now signs nothing, whenever it says that it signed.
  * The signer is one of the certificates that were given, never one that came with the message.

Sequoia holds the interpreter's lock while it works: verify what is larger than a few hundred KiB in
`workers.pool`.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import pysequoia
from pysequoia.packet import PacketPile, SignatureType, Tag

from gatepost.crypto.sequoia import Parsed, parse
from gatepost.crypto.signature import SignatureError, Signer
from gatepost.errors import CryptoError

_MAX_SIGNATURES = 8
_MAX_SIZE = 256 << 10  # octets of all signatures
_REMEMBERED = 256
_OF_DOCUMENTS = (SignatureType.Binary, SignatureType.Text)

_parsed = lru_cache(_REMEMBERED)(parse)


def verify(
    signed: bytes | Path, signature: bytes, certificates: Sequence[bytes], now: datetime | None = None
) -> tuple[Signer, ...]:
    """
    Verify detached signatures, armored or binary, over bytes or a file; gives who made them, in order.

    Raises SignatureError where one is not good, or not by one of these certificates.
    """
    known = [one for data in certificates for one in _readable(data)]
    moment = now or datetime.now(UTC)
    return tuple([_verified(signed, one, known, moment) for one in _signatures(signature)])


def _readable(data: bytes) -> tuple[Parsed, ...]:
    try:
        return _parsed(data)
    except CryptoError:
        return ()  # whoever it belongs to, nothing is signed with it


def _signatures(data: bytes) -> Iterator[pysequoia.Sig]:
    """Take the signatures apart: they are verified one by one."""
    if len(data) > _MAX_SIZE:
        raise SignatureError("the signature is larger than what is read")
    try:
        packets = list(PacketPile.from_bytes(data))
        if not packets or any(one.tag != Tag.Signature for one in packets):
            raise SignatureError("the signature is malformed")
        if len(packets) > _MAX_SIGNATURES:
            raise SignatureError("the message has more signatures than are read")
        if any(one.signature_type not in _OF_DOCUMENTS for one in packets):
            raise SignatureError("the signature is not one for mail")
        yield from [pysequoia.Sig.from_bytes(bytes(one)) for one in packets]
    except RuntimeError:
        raise SignatureError("the signature is malformed") from None


def _verified(signed: bytes | Path, signature: pysequoia.Sig, known: Sequence[Parsed], now: datetime) -> Signer:
    source = {"file": str(signed)} if isinstance(signed, Path) else {"bytes": signed}
    try:
        found = pysequoia.verify(
            **source, store=lambda _: [one.cert for one in known], signature=signature
        ).valid_sigs
    except RuntimeError:
        raise SignatureError("the signature is wrong, or by a key that is not the author's") from None
    if len(found) != 1:
        raise SignatureError("the signature is malformed")
    certificate, key = found[0].certificate.upper(), found[0].signing_key.upper()
    signer = next(one for one in known if one.certificate.fingerprint == certificate)
    components = [one for one in (signer.primary, *signer.subkeys) if one.fingerprint in {certificate, key}]
    fault = next(filter(None, (one.fault(now) for one in components)), "")
    if fault:
        raise SignatureError(f"the signer's key is {fault}")
    return Signer(certificate, signer.certificate.data)
