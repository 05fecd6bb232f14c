"""
Who takes part in the attacks, and their keys: fixed, thrown away, and valid for a long time.

    doc@hosp.test      an insider with an OpenPGP key and a certificate of his own
    mal@hosp.test      an insider without keys, the accomplice
    hosp.test          their domain, with an OpenPGP key and a certificate of its own
    kim@partner.test   an outsider whose keys the site knows
    eve@evil.test      the attacker, whose keys the site knows too

In tests/golden/attacks/keys: NAME.asc (OpenPGP, secret), NAME.key and NAME.pem; PEOPLE names them.
"""

import datetime as dt
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "attacks"
KEYS = GOLDEN / "keys"
OWN, WARD = "hosp.test", "ward.test"
DOC, MAL, NURSE = f"doc@{OWN}", f"mal@{OWN}", f"doc@{WARD}"
KIM, EVE = "kim@partner.test", "eve@evil.test"
PEOPLE = (DOC, OWN, KIM, EVE)
POSING = "posing"
"""Eve's second certificate: hers by subjectAltName, and with kim's address for a common name."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_STARTS = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_ENDS = dt.datetime(2056, 1, 1, tzinfo=dt.UTC)


@cache
def certificate(name: str) -> x509.Certificate:
    """Give somebody's certificate."""
    return x509.load_pem_x509_certificate((KEYS / f"{name}.pem").read_bytes())


@cache
def private_key(name: str) -> PrivateKey:
    """Give the key of somebody's certificate."""
    key = load_pem_private_key((KEYS / f"{name}.key").read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError(f"the key of {name} is of no kind that is used here")
    return key


def make_keys() -> None:
    """Make the keys that are missing."""
    KEYS.mkdir(parents=True, exist_ok=True)
    for name in PEOPLE:
        if not (KEYS / f"{name}.asc").exists():
            (KEYS / f"{name}.asc").write_bytes(_openpgp(name))
        if not (KEYS / f"{name}.pem").exists():
            _certify(name, name, name)
    if not (KEYS / f"{POSING}.pem").exists():
        _certify(POSING, KIM, EVE)


def _openpgp(user_id: str) -> bytes:
    """Make an OpenPGP key with gpg: RSA, made in 2024, without an end; gives its secret half, armoured."""
    with tempfile.TemporaryDirectory() as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--faked-system-time"]
        run = [*gpg, "20240101T000000!"]
        subprocess.run([*run, "--quick-generate-key", user_id, "rsa2048", "sign,cert", "never"], check=True)
        listing = subprocess.run([*run, "--with-colons", "-k"], check=True, capture_output=True, text=True).stdout
        (fingerprint,) = (line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        subprocess.run([*run, "--quick-add-key", fingerprint, "rsa2048", "encr", "never"], check=True)
        armored = subprocess.run([*run, "--armor", "--export-secret-keys"], check=True, capture_output=True).stdout
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    return armored


def _certify(file: str, common_name: str, named: str) -> None:
    """Make a key and its self-signed certificate: RSA for a person, on a curve for the domain."""
    key: PrivateKey = (
        rsa.generate_private_key(65537, 2048) if "@" in named else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    number = x509.random_serial_number()
    alternative = x509.RFC822Name(named) if "@" in named else x509.DNSName(named)
    public = key.public_key()
    made = (
        x509.CertificateBuilder(subject, subject, public, number, _STARTS, _ENDS)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    (KEYS / f"{file}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (KEYS / f"{file}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
