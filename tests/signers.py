"""People who sign with S/MIME: keys and self-signed certificates, and mail signed with them."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import NameOID

from gatepost.crypto import der
from gatepost.crypto.x509 import parsed

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2126, 1, 1, tzinfo=UTC)


class Person:
    """Somebody with a key and a self-signed certificate, also in files for OpenSSL."""

    def __init__(self, folder: Path, name: str, key: PrivateKey, usage: x509.KeyUsage | None = None) -> None:
        self.key = key
        self.pem, self.private = folder / f"{name}.pem", folder / f"{name}.key"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder(subject, subject, key.public_key(), 4711)
            .not_valid_before(BEGIN)
            .not_valid_after(END)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(f"{name}@x.test")]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if usage is not None:
            builder = builder.add_extension(usage, critical=True)
        digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        certificate = builder.sign(key, digest)
        self.der = certificate.public_bytes(Encoding.DER)
        self.pem.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def identifier(self) -> bytes:
        found = parsed(self.der)
        return der.sequence(found.issuer, found.serial)

    def raw_sign(self, message: bytes, digest: hashes.HashAlgorithm | None = None) -> bytes:
        digest = digest or hashes.SHA256()
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), digest)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(digest))
        return self.key.sign(message)

    def cms(self, content: bytes, *others: "Person", opaque: bool = False) -> bytes:
        """Sign with OpenSSL's library, together with others: CMS in DER."""
        options = [pkcs7.PKCS7Options.Binary, *([] if opaque else [pkcs7.PKCS7Options.DetachedSignature])]
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        for person in (self, *others):
            assert not isinstance(person.key, ed25519.Ed25519PrivateKey)
            builder = builder.add_signer(x509.load_der_x509_certificate(person.der), person.key, hashes.SHA256())
        return builder.sign(Encoding.DER, options)
