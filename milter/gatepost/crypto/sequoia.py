"""
The OpenPGP engine inside the process: Sequoia. `openpgp_signature` beside it is the other module that imports
pysequoia.

Sequoia encrypts to expired and to revoked certificates without a word, so every use goes through the guard.
Which subkeys it encrypts to is not guessed but looked up in a trial message: Sequoia chose them by signatures
that it verified. Their expiry is read from the packets, and only used to refuse.
It holds the interpreter's lock while it works: encrypt what is larger than a few hundred KiB in `workers.pool`.
"""

import binascii
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO

import pysequoia
from pysequoia.packet import Packet, PacketPile, PublicKeyAlgorithm, SignatureType, Tag

from gatepost.crypto import crc24, guard
from gatepost.crypto.certificate import Certificate
from gatepost.crypto.guard import Component
from gatepost.errors import CryptoError

# Sequoia reads it at its first error. Walking the stack for errors that are part of its work costs a tenth of it.
os.environ.setdefault("RUST_LIB_BACKTRACE", "0")

_KEYS = (Tag.PublicKey, Tag.PublicSubkey)
_BINDINGS = (
    SignatureType.SubkeyBinding,
    SignatureType.DirectKey,
    SignatureType.GenericCertification,
    SignatureType.PersonaCertification,
    SignatureType.CasualCertification,
    SignatureType.PositiveCertification,
)
_RSA = (PublicKeyAlgorithm.RSAEncryptSign, PublicKeyAlgorithm.RSAEncrypt, PublicKeyAlgorithm.RSASign)
_ELGAMAL = (PublicKeyAlgorithm.ElGamalEncrypt, PublicKeyAlgorithm.ElGamalEncryptSign)
_REMEMBERED = 1024  # certificates kept parsed
_ARMOR_PIECE = 48 << 12  # octets: whole lines of 48 each
_VERSION_4 = 40  # hexadecimal digits of a fingerprint


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    A certificate in Sequoia's form, with what the guard needs to judge it at any time.

    `fault` is why Sequoia itself accepts nothing of it, at any time.
    """

    cert: pysequoia.Cert
    certificate: Certificate
    primary: Component
    subkeys: tuple[Component, ...]
    fault: str = ""

    def refusal(self, now: datetime) -> str:
        """Tell why mail must not be encrypted to it now; empty if it may."""
        if self.fault:
            return self.primary.fault(now) or self.fault
        return guard.refusal(self.primary, self.subkeys, now)

    def judged(self, now: datetime) -> Certificate:
        """Describe it as it is now."""
        refusal = self.refusal(now)
        return replace(self.certificate, refusal=refusal) if refusal else self.certificate


def _now() -> datetime:
    return datetime.now(UTC)


class SequoiaEncryptor:
    """Implements Encryptor. Keeps certificates parsed, since parsing costs more than encrypting a small mail."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._parsed = lru_cache(maxsize=_REMEMBERED)(parse)

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        """Read armored or binary certificates; raises CryptoError naming what is wrong and in which one."""
        now = self._clock()
        return tuple(parsed.judged(now) for parsed in self._parsed(data))

    def encrypt(self, plaintext: bytes, certificates: Sequence[bytes]) -> bytes:
        """Encrypt to every certificate; gives ASCII armor with LF line ends. Raises CryptoError."""
        recipients = self._recipients(certificates)
        try:
            return pysequoia.encrypt(plaintext, recipients)
        except RuntimeError as error:
            raise CryptoError(f"OpenPGP encryption failed: {_first_line(error)}") from None

    def encrypt_file(
        self, source: Path, target: Path, certificates: Sequence[bytes], directory: Path | None = None
    ) -> None:
        """Encrypt one file into another, which exists, in bounded memory; as `encrypt` otherwise."""
        recipients = self._recipients(certificates)
        with tempfile.TemporaryFile(dir=directory, prefix="packets-") as packets, target.open("wb") as armor:
            try:
                # Sequoia writes armor to a file line by line, which takes longer than all the rest
                path = f"/proc/self/fd/{packets.fileno()}"
                pysequoia.encrypt_file(str(source), path, recipients, armor=False)
            except RuntimeError as error:
                raise CryptoError(f"OpenPGP encryption failed: {_first_line(error)}") from None
            # Version 6 has no checksum (RFC 9580 section 6.1); where gpg has one, it wants it
            checksum = any(len(one.fingerprint) == _VERSION_4 for one in recipients)
            armor.writelines(_armored(packets, checksum=checksum))

    def _recipients(self, certificates: Sequence[bytes]) -> list[pysequoia.Cert]:
        if not certificates:
            raise CryptoError("no certificate to encrypt to")
        return [self._usable(data) for data in certificates]

    def _usable(self, data: bytes) -> pysequoia.Cert:
        found = self._parsed(data)
        if len(found) != 1:
            raise CryptoError(f"one certificate is needed for each recipient, not {len(found)}")
        refusal = found[0].refusal(self._clock())
        if refusal:
            raise CryptoError(f"key {found[0].certificate.fingerprint} must not be encrypted to: {refusal}")
        return found[0].cert


def _armored(packets: IO[bytes], *, checksum: bool) -> Iterator[bytes]:
    """Armor a message of any size (RFC 9580 section 6.2), with lines of 64 characters."""
    crc = crc24.EMPTY
    yield b"-----BEGIN PGP MESSAGE-----\n\n"
    while piece := packets.read(_ARMOR_PIECE):
        text = pysequoia.armor(piece, pysequoia.ArmorKind.Message).encode("ascii")
        end = text.rindex(b"\n=") + 1
        yield text[text.index(b"\n\n") + 2 : end]
        own = int.from_bytes(binascii.a2b_base64(text[end + 1 : end + 5]), "big")
        crc = crc24.joined(crc, own, len(piece))
    if checksum:
        yield b"=" + binascii.b2a_base64(crc.to_bytes(3, "big"))
    yield b"-----END PGP MESSAGE-----\n"


@lru_cache(_REMEMBERED)
def minimal(certificate: bytes, address: str) -> bytes:
    """
    Give of a certificate what is needed to encrypt to it: primary key, one user ID, the subkeys to encrypt to, and
    the newest signature of its own on each. The user ID is one with this address, if there is any. Raises
    CryptoError.
    """
    found = parse(certificate)
    if len(found) != 1:
        raise CryptoError(f"one certificate is needed, not {len(found)}")
    used = {one.fingerprint for one in found[0].subkeys if one.encrypts}
    primary, *others = _bound(PacketPile.from_bytes(found[0].certificate.data))
    names = [one for one in others if one[0].tag == Tag.UserID]
    names.sort(key=lambda one: guard.address_in(one[0].body.decode("utf-8", "replace")) != address.lower())
    subkeys = [one for one in others if (one[0].fingerprint or "").upper() in used]
    kept = (primary, *names[:1], *subkeys)
    return bytes(pysequoia.Cert.from_packets([packet for one in kept for packet in one]))


def _bound(packets: Iterable[Packet]) -> Iterator[tuple[Packet, ...]]:
    """Give each key and user ID of a certificate, primary first, with its newest own binding signature."""
    issuer, held, binding = "", None, None
    for packet in packets:
        if packet.tag in (*_KEYS, Tag.UserID, Tag.UserAttribute):
            if held is not None:
                yield (held, binding) if binding is not None else (held,)
            held, binding = packet, None
            issuer = issuer or (packet.key_id or "")
        elif packet.tag == Tag.Signature and packet.signature_type in _BINDINGS:
            own = packet.issuer_key_id == issuer or (packet.issuer_fingerprint or "").endswith(issuer)
            if own and _is_newer(packet, binding):
                binding = packet
    if held is not None:
        yield (held, binding) if binding is not None else (held,)


def armored(certificate: bytes) -> str:
    """Give a certificate as ASCII armor."""
    return pysequoia.armor(certificate, pysequoia.ArmorKind.PublicKey)


def _first_line(error: Exception) -> str:
    """Sequoia's errors may carry a backtrace below their first line."""
    return str(error).partition("\n")[0]


def parse(data: bytes) -> tuple[Parsed, ...]:
    """Read armored or binary certificates; raises CryptoError naming what is wrong and in which one."""
    guard.check_size(data, guard.MAX_KEYRING, "the key file")
    try:
        certs = pysequoia.Cert.split_bytes(data)
    except RuntimeError as error:
        raise CryptoError(f"no OpenPGP certificate can be read: {_first_line(error)}") from None
    if not certs:
        raise CryptoError("no OpenPGP certificate found: the file is empty or holds something else")
    return tuple(_parse_one(cert) for cert in certs)


def _parse_one(cert: pysequoia.Cert) -> Parsed:
    fingerprint = cert.fingerprint.upper()
    if cert.has_secret_keys:
        raise CryptoError(f"key {fingerprint}{guard.PRIVATE}")
    data = bytes(cert)
    guard.check_size(data, guard.MAX_CERTIFICATE, f"certificate {fingerprint}")
    try:
        keys = list(_components(PacketPile.from_bytes(data), set(_encrypted_to(cert))))
    except RuntimeError as error:
        raise CryptoError(f"certificate {fingerprint} cannot be read: {_first_line(error)}") from None
    try:
        user_ids = tuple(str(user_id) for user_id in cert.user_ids)
        primary, fault = replace(keys[0], expires=cert.expiration, revoked=cert.is_revoked), ""
    except RuntimeError as error:
        # Never encrypted to, so nothing hangs on these user IDs' signatures: they tell the admin whose key it is
        user_ids, primary, fault = _bare_user_ids(data), keys[0], f"not acceptable: {_first_line(error)}"
    certificate = Certificate(
        fingerprint=fingerprint,
        user_ids=user_ids,
        addresses=tuple(dict.fromkeys(address for address in map(guard.address_in, user_ids) if address)),
        data=data,
        created=primary.created,
        expires=guard.usable_until(primary, keys[1:]),
        refusal="",
    )
    return Parsed(cert, certificate, primary, tuple(keys[1:]), fault)


def _bare_user_ids(data: bytes) -> tuple[str, ...]:
    packets = PacketPile.from_bytes(data)
    return tuple(packet.body.decode("utf-8", "replace") for packet in packets if packet.tag == Tag.UserID)


def _encrypted_to(cert: pysequoia.Cert) -> Iterator[str]:
    """Name the keys that Sequoia encrypts to, by key ID (v4) or fingerprint (v6), from a trial message."""
    try:
        trial = pysequoia.encrypt(b"", [cert], armor=False)
    except RuntimeError:
        return  # no subkey that Sequoia's policy accepts
    for packet in PacketPile.from_bytes(trial):
        if packet.tag == Tag.PKESK:
            body = packet.body
            # RFC 9580 section 5.1: version 3 names the key ID, version 6 the fingerprint behind its own version
            named = body[1:9] if body[0] == 3 else body[3 : 2 + body[1]]  # noqa: PLR2004 - the packet's version
            yield named.hex()


def _components(packets: Iterable[Packet], used: set[str]) -> Iterator[Component]:
    """Describe the keys of a certificate, primary first; a key's newest binding signature sets its expiry."""
    key: Packet | None = None
    binding: Packet | None = None
    for packet in packets:
        if packet.tag in _KEYS:
            if key is not None:
                yield _component(key, binding, used)
            key, binding = packet, None
        elif packet.tag == Tag.Signature and packet.signature_type in _BINDINGS and _is_newer(packet, binding):
            binding = packet
    if key is not None:
        yield _component(key, binding, used)


def _is_newer(packet: Packet, than: Packet | None) -> bool:
    if than is None or than.signature_created is None:
        return True
    return packet.signature_created is not None and packet.signature_created > than.signature_created


def _component(key: Packet, binding: Packet | None, used: set[str]) -> Component:
    fingerprint = key.fingerprint or ""
    created = key.key_created or datetime.fromtimestamp(0, UTC)
    validity = binding.key_validity_period if binding is not None else None
    name = _algorithm(key)
    return Component(
        fingerprint=fingerprint.upper(),
        algorithm=name,
        bits=_modulus_bits(key.body) if name == "RSA" else 0,
        created=created,
        expires=created + validity if validity else None,
        revoked=False,  # Sequoia leaves revoked subkeys out itself, by signatures that it verified
        encrypts=fingerprint in used or (key.key_id or "") in used,
    )


def _algorithm(key: Packet) -> str:
    algorithm = key.key_algorithm
    if algorithm in _RSA:
        return "RSA"
    if algorithm in _ELGAMAL:
        return "ElGamal"
    return "DSA" if algorithm == PublicKeyAlgorithm.DSA else str(algorithm).rpartition(".")[2]


def _modulus_bits(body: bytes) -> int:
    """Read the modulus's length from a public-key packet (RFC 9580 section 5.5.2): first MPI of the material."""
    start = 10 if body[0] == 6 else 6  # noqa: PLR2004 - version 6 has four octets of length more
    return int.from_bytes(body[start : start + 2], "big")
