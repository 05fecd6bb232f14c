"""X.509 certificates, by table: what may be encrypted to, whom they name, and what is refused with which words."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import x509 as certificates
from gatepost.crypto.x509 import X509Reader
from gatepost.errors import CryptoError

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
P256 = ec.generate_private_key(ec.SECP256R1())
Key = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | x25519.X25519PrivateKey
)


def certificate(
    *extensions: x509.ExtensionType,
    key: Key = P256,
    starts: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
    subject: str = "Ann",
    email: str = "",
    critical: bool = False,
) -> bytes:
    """Make a certificate, signed by a key of the test, in DER."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
    if email:
        attributes.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, email))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    builder = x509.CertificateBuilder(issuer, x509.Name(attributes), key.public_key(), 4711, starts, ends)
    for one in extensions:
        builder = builder.add_extension(one, critical=critical)
    return builder.sign(P256, hashes.SHA256()).public_bytes(Encoding.DER)


def usage(*, sign: bool = False, transport: bool = False, agreement: bool = False) -> x509.KeyUsage:
    """Give a key usage with these bits."""
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=transport,
        data_encipherment=False,
        key_agreement=agreement,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def small(bits: int) -> rsa.RSAPrivateKey:
    """Make an RSA key of so many bits."""
    return rsa.generate_private_key(65537, bits)


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "plain": (certificate, ""),
    "for key agreement": (lambda: certificate(usage(agreement=True)), ""),
    "RSA for key transport": (lambda: certificate(usage(transport=True), key=small(2048)), ""),
    "for mail": (lambda: certificate(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])), ""),
    "for any": (lambda: certificate(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])), ""),
    "an unknown extension": (
        lambda: certificate(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"")),
        "",
    ),
    "expired": (lambda: certificate(starts=NOW - 9 * DAY, ends=NOW - DAY), "expired on"),
    "not yet valid": (lambda: certificate(starts=NOW + DAY, ends=NOW + 9 * DAY), "not valid before"),
    "RSA of 1024 bits": (lambda: certificate(key=small(1024)), "too weak"),
    "an authority": (lambda: certificate(x509.BasicConstraints(ca=True, path_length=None)), "authority's"),
    "EC for signatures": (lambda: certificate(usage(sign=True)), "key usage"),
    "EC for key transport": (lambda: certificate(usage(transport=True)), "key usage"),
    "RSA for signatures": (lambda: certificate(usage(sign=True), key=small(2048)), "key usage"),
    "RSA for key agreement": (lambda: certificate(usage(agreement=True), key=small(2048)), "key usage"),
    "for servers": (lambda: certificate(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), "e-mail"),
    "a critical unknown extension": (
        lambda: certificate(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b""), critical=True),
        "critical",
    ),
    "another curve": (lambda: certificate(key=ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
    "X25519": (lambda: certificate(key=x25519.X25519PrivateKey.generate()), ""),
    "Ed25519": (lambda: certificate(key=ed25519.Ed25519PrivateKey.generate()), "Ed25519"),
    "DSA": (lambda: certificate(key=dsa.generate_private_key(2048)), "DSA"),
}


@pytest.mark.parametrize("name", list(CASES))
def test_what_may_be_encrypted_to(name: str) -> None:
    """A certificate that must not be encrypted to is told with its reason, and refused for use; others are not."""
    make, refusal = CASES[name]
    data = make()
    (found,) = X509Reader().read(data)
    assert found.kind == "smime"
    if not refusal:
        assert not found.refusal
        assert certificates.usable(data).certificate == found
        return
    assert refusal in found.refusal
    with pytest.raises(CryptoError, match=found.fingerprint):
        certificates.usable(data)


def test_what_only_signs_is_taken_as_such() -> None:
    """A certificate for signatures says why it is not encrypted to, and is sound otherwise; and the other way."""
    for signs, opens, made in (
        (True, False, certificate(usage(sign=True))),
        (True, False, certificate(key=ed25519.Ed25519PrivateKey.generate())),
        (False, True, certificate(usage(agreement=True))),
        (False, True, certificate(key=x25519.X25519PrivateKey.generate())),
        (True, True, certificate(usage(sign=True, agreement=True))),
        (True, True, certificate()),
        (False, False, certificate(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]))),
    ):
        found = certificates.parsed(made)
        assert (not found.signature_fault, not found.encryption_fault) == (signs, opens)
        assert bool(found.fault) is not (signs or opens)


def test_whom_it_names() -> None:
    """The addresses of subjectAltName and subject count, in lower case, each once; what is none does not."""
    names = x509.SubjectAlternativeName(
        [x509.RFC822Name("Ann@Clinic.test"), x509.RFC822Name("ann.b@clinic.test"), x509.DNSName("clinic.test")]
    )
    (found,) = X509Reader().read(certificate(names, email="ann@clinic.test", subject="eve@evil.test"))
    assert found.addresses == ("ann@clinic.test", "ann.b@clinic.test")


def test_issuer_and_serial_stand_as_in_the_certificate() -> None:
    """A recipient is named by the very octets of the certificate, whoever would encode them otherwise."""
    data = certificate()
    one = certificates.parsed(data)
    assert one.issuer == x509.load_der_x509_certificate(data).issuer.public_bytes()
    assert one.serial == bytes.fromhex("02021267")


def test_pem_der_and_bundles() -> None:
    """One certificate reads the same from PEM, DER and PKCS #7; an authority's beside it is left out."""
    mine = x509.load_der_x509_certificate(certificate())
    authority = x509.load_der_x509_certificate(certificate(x509.BasicConstraints(ca=True, path_length=None)))
    for encoding in (Encoding.PEM, Encoding.DER):
        bundle = pkcs7.serialize_certificates([mine, authority], encoding)
        assert [one.data for one in X509Reader().read(bundle)] == [mine.public_bytes(Encoding.DER)]
    pem = authority.public_bytes(Encoding.PEM) + mine.public_bytes(Encoding.PEM)
    assert [one.data for one in X509Reader().read(pem)] == [mine.public_bytes(Encoding.DER)]
    assert certificates.pem(mine.public_bytes(Encoding.DER)).encode() == mine.public_bytes(Encoding.PEM)


def test_a_private_key_is_told() -> None:
    """Whoever gives a private key in the place of a certificate is told so; nothing of it is in the text."""
    with pytest.raises(CryptoError, match="PRIVATE KEY"):
        X509Reader().read(b"-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----\n")


@given(st.binary(max_size=400))
def test_nonsense_is_an_error_in_words(data: bytes) -> None:
    """Whatever octets a file holds, what comes is a certificate or one clear error."""
    for prefix in (b"", b"-----BEGIN CERTIFICATE-----\n", b"\x30\x82"):
        with pytest.raises(CryptoError):
            X509Reader().read(prefix + data)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_a_changed_certificate_never_breaks(position: int, value: int) -> None:
    """One octet changed anywhere gives a certificate or one clear error, never anything else."""
    data = bytearray(certificate())
    data[position % len(data)] = value
    with contextlib.suppress(CryptoError):
        assert X509Reader().read(bytes(data))
