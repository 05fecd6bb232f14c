"""Certificates of throw-away authorities: for receivers that speak TLS, right and wrong."""

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A server's certificate and key on disk; `fingerprint` is SHA-256 of the certificate, `AA:BB:…`."""

    file: Path
    key: Path
    fingerprint: str

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

    def issue(self, *names: str) -> ServerCertificate:
        """Issue a server certificate for these host names, the first of which is its subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = _builder(_name(names[0]), self._name, key).add_extension(san, False)
        certificate = builder.sign(self._key, hashes.SHA256())
        stem = f"{self.file.stem}-{_file_name(names[0])}"
        file, key_file = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return ServerCertificate(file, key_file, certificate.fingerprint(hashes.SHA256()).hex(":").upper())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - _DAY, now + 30 * _DAY
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _file_name(name: str) -> str:
    return name.replace("*", "any").replace(" ", "-").lower()
