"""
The site's own private keys for S/MIME, read from files: a key and the certificate that belongs to it.

PEM with both, the key in PKCS #8 (RFC 5958), PKCS #1 (RFC 8017) or SEC 1 (RFC 5915), or PKCS #12 (RFC 7292).
What is kept is the certificate in DER with the key in PKCS #8 behind it, without a passphrase: they stay one.
"""

import re
from contextlib import suppress

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from gatepost.crypto import guard
from gatepost.crypto.private_key import Held
from gatepost.crypto.x509 import parsed
from gatepost.errors import CryptoError

_PEM = b"-----BEGIN "
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_CERTIFICATE, _KEY = b"CERTIFICATE", b"PRIVATE KEY"


class SmimeKeys:
    """Takes private keys from files."""

    def read_private(self, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        """
        Read one private key with its certificate, taking its passphrase off; gives the certificate in DER, and
        what is kept of the private half.

        Raises CryptoError where one of them is missing, they do not belong together, the passphrase does not open
        them, or the certificate serves neither for opening mail nor for signing it, at any time. It may have
        expired: old mail is read.
        """
        guard.check_size(data, guard.MAX_CERTIFICATE, "the private key")
        word = passphrase.encode() or None
        key, certificates = _of_pem(data, word) if _PEM in data else _of_pkcs12(data, word)
        if not isinstance(key, Held):
            raise CryptoError("the private key is neither RSA nor on an elliptic curve: it serves for no mail")
        certificate = _certificate_of(key, certificates)
        found = parsed(certificate)
        if fault := found.fault or (found.encryption_fault and found.signature_fault):
            raise CryptoError(f"certificate {found.certificate.fingerprint}: {fault}")
        return certificate, certificate + key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _of_pem(data: bytes, passphrase: bytes | None) -> tuple[object, list[x509.Certificate]]:
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(data)]
    keys = [block for kind, block in blocks if kind.endswith(_KEY)]
    if len(keys) != 1:
        raise CryptoError(f"one private key is needed in a file, not {len(keys)}")
    try:
        certificates = [x509.load_pem_x509_certificate(block) for kind, block in blocks if kind == _CERTIFICATE]
    except ValueError:
        raise CryptoError("a certificate beside the private key cannot be read") from None
    try:
        return load_pem_private_key(keys[0], passphrase if b"ENCRYPTED" in keys[0] else None), certificates
    except TypeError:
        raise CryptoError("the private key is protected by a passphrase; give it with --passphrase-file") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = "the passphrase does not open the private key" if passphrase else "the private key cannot be read"
        raise CryptoError(wrong) from None


def _of_pkcs12(data: bytes, passphrase: bytes | None) -> tuple[object, list[x509.Certificate]]:
    try:
        found = pkcs12.load_pkcs12(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CryptoError(
            "the file does not open as PKCS #12: another passphrase is needed (--passphrase-file), or it is none;"
            " a private key in PEM needs its certificate in the same file"
        ) from None
    if found.key is None:
        raise CryptoError("there is no private key in the PKCS #12 file")
    beside = [one.certificate for one in found.additional_certs]
    return found.key, [found.cert.certificate, *beside] if found.cert else beside


def _certificate_of(key: Held, certificates: list[x509.Certificate]) -> bytes:
    """Find the certificate with the key's public half, in DER."""
    for one in certificates:
        with suppress(ValueError, UnsupportedAlgorithm):  # another's, of a kind that is not known here
            if one.public_key() == key.public_key():
                return one.public_bytes(Encoding.DER)
    if certificates:
        raise CryptoError("no certificate in the file belongs to the private key")
    raise CryptoError("the private key comes without its certificate; give one file with both, PEM or PKCS #12")
