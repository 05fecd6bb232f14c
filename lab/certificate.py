"""Certificates of throw-away authorities: for receivers that speak TLS, right and wrong."""

import datetime as dt
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)
_HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A server's certificate and key on disk; `fingerprint` is SHA-256 of the certificate, `AA:BB:…`."""

    file: Path
    key: Path
    fingerprint: str
    tlsa: str  # the data of the TLSA record `3 1 1` that names its key (RFC 7671 section 5.1)

    def context(self) -> ssl.SSLContext:
        """Give a server-side SSL context that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


class Authority:
    """A certificate authority; its own certificate lies in `file`."""

    def __init__(self, folder: Path, name: str = "Lab CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._name, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.file = folder / f"{_file_name(name)}.pem"
        self.file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(self, *names: str, expired: bool = False) -> ServerCertificate:
        """
        Issue a server certificate for these host names, the first of which is its subject.

        One that is `expired` ended an hour ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(names[0]), self._name, key, -_HOUR if expired else 30 * _DAY)
        certificate = builder.add_extension(_alternatives(names), False).sign(self._key, hashes.SHA256())
        stem = f"{self.file.stem}-{'expired-' if expired else ''}{_file_name(names[0])}"
        return _written(self._folder, stem, certificate, key)


def self_signed(folder: Path, *names: str) -> ServerCertificate:
    """Make a server certificate for these host names that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(names[0]), _name(names[0]), key).add_extension(_alternatives(names), False)
    return _written(folder, f"self-{_file_name(names[0])}", builder.sign(key, hashes.SHA256()), key)


def _written(
    folder: Path, stem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> ServerCertificate:
    file, key_file = folder / f"{stem}.pem", folder / f"{stem}.key"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return ServerCertificate(file, key_file, fingerprint, hashlib.sha256(spki).hexdigest())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends: dt.timedelta = 30 * _DAY
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    number = x509.random_serial_number()
    return x509.CertificateBuilder(issuer, subject, key.public_key(), number, now - _DAY, now + ends)


def _alternatives(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _file_name(name: str) -> str:
    return name.replace("*", "any").replace(" ", "-").lower()
