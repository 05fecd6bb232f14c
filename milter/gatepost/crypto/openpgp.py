"""
OpenPGP as the gateway uses it: values, and the port that both engines implement.

`sequoia.py` is the fast engine inside the process, `gnupg_engine.py` the one that runs gpg. RFC 9580, RFC 4880.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from gatepost.crypto.certificate import Reader
from gatepost.message.address import Address
from gatepost.message.body import Body

UNDECRYPTABLE = "the message cannot be decrypted with this key"


@dataclass(frozen=True, slots=True)
class Verification:
    """The signature found inside: `status` is "pass", "fail" (wrong, or the key is unknown) or "none"."""

    status: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """
    A decrypted message: its plaintext, and the signature found inside.

    Two of one message are equal if their digests and what was found of signatures are. `kind` is "openpgp"
    or "smime"; `intact` is false where nothing proves that the plaintext is what the sender encrypted.
    """

    plaintext: Body = field(compare=False)
    digest: bytes
    verification: Verification
    kind: str = "openpgp"
    intact: bool = True


@dataclass(frozen=True, slots=True)
class Decrypted:
    """
    What a decryptor found: the signature, and whether the plaintext that it wrote is proved.

    `digest` differs wherever one message gives two keys' owners different plaintexts.
    """

    digest: bytes
    verification: Verification
    intact: bool = True


def private_context(fingerprint: str) -> bytes:
    """Give the context under which a private key is sealed."""
    return b"gatepost key " + fingerprint.encode("ascii")


class Encryptor(Reader, Protocol):
    """
    Encrypts to public keys. Thread-safe.

    Refuses (CryptoError) a certificate that is expired, revoked, too weak or without an encryption subkey, even
    where the library behind would not.
    """

    def encrypt(self, plaintext: bytes, certificates: Sequence[bytes]) -> bytes:
        """Encrypt to every certificate; gives ASCII armor with LF line ends."""

    def encrypt_file(
        self, source: Path, target: Path, certificates: Sequence[bytes], directory: Path | None = None
    ) -> None:
        """
        Encrypt one file into another, which exists, in bounded memory; as `encrypt` otherwise.

        `directory` is for temporary files, which are unlinked at once; None means the system's place for them.
        """


class Decryptor(Protocol):
    """Decrypts with private keys; lives only in the key worker."""

    def decrypt(
        self, source: IO[bytes], target: IO[bytes], private: bytes, signers: Sequence[bytes], *, most: int
    ) -> Decrypted:
        """
        Decrypt one file into another with one private key; verify against the signers' certificates.

        Raises CryptoError, always the same text, for anything that does not decrypt whole, or
        to more than `most` octets; what stands in the target then counts for nothing. OSError if the disk is full.
        """


class Opener(Protocol):
    """Has mail opened by whoever holds the private keys. Thread-safe."""

    def open(
        self,
        ciphertext: Body,
        recipient: Address,
        sender: str,
        *,
        seconds: float,
        on_wait: Callable[[], object],
        domain_keys: bool = True,
    ) -> Opened | None:
        """
        Decrypt with the keys of this recipient or, if `domain_keys`, of the recipient's domain, and verify against
        the keys of the sender's address (as in From:; empty if not known).

        None where it cannot be decrypted, whatever the reason. Waits for so many seconds at most, and calls
        `on_wait` about every 5 s meanwhile; what that raises ends the wait. Raises WorkerError where nobody
        answered.
        """
