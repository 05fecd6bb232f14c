"""
The site's own small authority for S/MIME certificates, and what is written for an outside one (PKCS #10).

RFC 5280 (X.509), RFC 8550 (S/MIME certificates), RFC 4262 (announced algorithms), RFC 3183 (names of a domain's
certificate), RFC 2986 (requests).

Rules:
  * The authority vouches for addresses of its domains only (name constraints), and for no further authority.
  * The constraints are not marked critical, though RFC 5280 section 4.2.1.10 asks for it: gpgsm refuses what is
    critical and not known to it. Who knows them obeys them all the same.
  * There is no revocation list: whoever imports the authority gets the successor of a lost key by its certificate.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gatepost.crypto import capabilities
from gatepost.errors import CryptoError

Made = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
ALGORITHMS: Mapping[str, Callable[[], Made]] = {
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
}
"""Keys by the word for their kind."""

_EARLIER = timedelta(hours=1)  # for partners whose clock is slow
_MAX_COMMON_NAME = 64
_CAPABILITIES = x509.ObjectIdentifier("1.2.840.113549.1.9.15")
_DOMAIN_NAMES = ("domain-confidentiality-authority", "domain-signing-authority")  # RFC 3183 sections 3 and 4


def new_authority(domains: Sequence[str], now: datetime, days: int) -> tuple[bytes, bytes]:
    """
    Make an authority for these domains (`.domain`: the subdomains): its certificate in DER, its key in PKCS #8.

    Its key is RSA, which all mail programs verify. Raises CryptoError.
    """
    key = ALGORITHMS["rsa3072"]()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, domains[0].removeprefix(".")[:_MAX_COMMON_NAME]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Mail certificate authority {os.urandom(4).hex().upper()}"),
        ]
    )
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key, now - _EARLIER, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints([x509.RFC822Name(one) for one in domains], None), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER), private_octets(key)


def issue(authority: bytes, private: bytes, owner: str, *, algorithm: str, now: datetime, days: int) -> bytes:
    """
    Make a key and its certificate for an address or a domain of ours: PEM, the key first.

    `authority` is its certificate in DER, `private` its key as `new_authority` gave it. Raises CryptoError.
    """
    issuer = x509.load_der_x509_certificate(authority)
    key = ALGORITHMS[algorithm]()
    until = now + timedelta(days=days)
    if until > issuer.not_valid_after_utc:
        raise CryptoError(
            f"the site's authority expires on {issuer.not_valid_after_utc:%Y-%m-%d}, before the certificate would:"
            " take fewer --days, or make a new authority with --new-ca"
        )
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = _builder(_subject(owner), issuer.subject, key, now - _EARLIER, until).add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    for extension, critical in _of_mail(owner, key):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    ).sign(_loaded(private), hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + certificate.public_bytes(Encoding.PEM)


def request(owner: str, algorithm: str) -> tuple[str, bytes]:
    """Make a key and the request for its certificate: PKCS #10 in PEM, and the key in PKCS #8."""
    key = ALGORITHMS[algorithm]()
    builder = x509.CertificateSigningRequestBuilder(_subject(owner))
    for extension, critical in _of_mail(owner, key):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(), private_octets(key)


def key_digest(certificate: bytes) -> str:
    """Name the public key of a certificate in DER: its SHA-256, upper-case hexadecimal; raises CryptoError."""
    try:
        return _digest(x509.load_der_x509_certificate(certificate).public_key().public_bytes)
    except ValueError as error:
        raise CryptoError("the certificate's key cannot be read") from error


def private_digest(private: bytes) -> str:
    """Name the public half of a key in PKCS #8 likewise."""
    return _digest(_loaded(private).public_key().public_bytes)


def with_private(certificate: bytes, private: bytes) -> bytes:
    """Give a key in PKCS #8 with its certificate, both DER, as PEM, the key first."""
    pem = _loaded(private).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def chain_of(certificate: bytes, others: Sequence[bytes]) -> tuple[bytes, ...]:
    """Give those of the others that lead from a certificate up to its root, without that, in order; all in DER."""
    known = [(x509.load_der_x509_certificate(one), one) for one in others]
    chain: list[bytes] = []
    current = x509.load_der_x509_certificate(certificate)
    while current.issuer != current.subject:
        above = next((pair for pair in known if pair[0].subject == current.issuer and pair[1] not in chain), None)
        if above is None:
            break
        current = above[0]
        chain.append(above[1])
    return tuple(chain[:-1] if chain and current.issuer == current.subject else chain)


def ends(certificate: bytes) -> datetime:
    """Tell when a certificate in DER expires."""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc


def fingerprint(certificate: bytes) -> str:
    """Give the SHA-256 of a certificate in DER, in upper-case hexadecimal."""
    return x509.load_der_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex().upper()


def constrained_to(certificate: bytes) -> tuple[str, ...]:
    """Name the domains that an authority may vouch for, `.domain` for subdomains."""
    found = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.NameConstraints)
    return tuple(str(one.value) for one in found.value.permitted_subtrees or ())


def authority_context(fingerprint: str) -> bytes:
    """Give the context under which an authority's key is sealed."""
    return b"gatepost authority " + fingerprint.encode("ascii")


def request_context(digest: str) -> bytes:
    """Give the context under which the key of a request is sealed."""
    return b"gatepost request " + digest.encode("ascii")


def private_octets(key: Made) -> bytes:
    """Give a key in PKCS #8, DER, without a passphrase."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Made, starts: datetime, until: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts.astimezone(UTC))
        .not_valid_after(until.astimezone(UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _subject(owner: str) -> x509.Name:
    """Name the owner: a domain's certificate by what it is for (RFC 3183 section 4.1)."""
    name = owner if "@" in owner else _DOMAIN_NAMES[0]
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name[:_MAX_COMMON_NAME])]
    if "@" not in owner:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, owner[:_MAX_COMMON_NAME]))
    return x509.Name(parts)


def _of_mail(owner: str, key: Made) -> list[tuple[x509.ExtensionType, bool]]:
    """Give the extensions of a certificate for mail, each with whether it is critical."""
    addresses = [owner] if "@" in owner else [f"{name}@{owner}" for name in _DOMAIN_NAMES]
    try:
        names = x509.SubjectAlternativeName([x509.RFC822Name(one) for one in addresses])
    except ValueError as error:
        raise CryptoError(
            f"X.509 names no address like {owner} as mail programs read it (RFC 5280 section 4.2.1.6): only ASCII"
        ) from error
    transports = isinstance(key, rsa.RSAPrivateKey)
    usage = _usage(digital_signature=True, key_encipherment=transports, key_agreement=not transports)
    return [
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
        (names, False),
        (x509.UnrecognizedExtension(_CAPABILITIES, capabilities.OURS), False),
    ]


def _usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


def _loaded(private: bytes) -> Made:
    key = load_der_private_key(private, None)
    if not isinstance(key, Made):
        raise CryptoError("the key is neither RSA nor on an elliptic curve")
    return key


def _digest(public_bytes: Callable[[Encoding, PublicFormat], bytes]) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex().upper()
