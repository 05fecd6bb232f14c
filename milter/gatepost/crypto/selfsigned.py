"""
Self-signed certificates for the two ends of the re-injection listener.

Both ends know each other by fingerprint, so no authority vouches and no name is checked; they are made once per
site and do not run out while it lives.
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=365 * 20)
_MAX_COMMON_NAME = 64


def server(hostname: str) -> bytes:
    """Make a server's key (P-256) and certificate: PEM, the key first, as Postfix reads chain files."""
    return _pair(hostname, ExtendedKeyUsageOID.SERVER_AUTH)


def client(hostname: str) -> bytes:
    """Make a client's key (P-256) and certificate: PEM, the key first."""
    return _pair(hostname, ExtendedKeyUsageOID.CLIENT_AUTH)


def _pair(hostname: str, usage: x509.ObjectIdentifier) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:_MAX_COMMON_NAME])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)
