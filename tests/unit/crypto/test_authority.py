"""The site's own authority: what it issues, judged by OpenSSL and gpgsm."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from lab.place import short_folder

from gatepost.crypto import authority
from gatepost.crypto.x509 import X509Reader
from gatepost.errors import CryptoError

NOW = datetime.now(UTC)
DAYS = 3653


@pytest.fixture(scope="module")
def made() -> tuple[bytes, bytes]:
    """Make an authority of hosp.test and its subdomains: its certificate and its key."""
    return authority.new_authority(["hosp.test", ".hosp.test"], NOW, DAYS)


def issued(made: tuple[bytes, bytes], owner: str, algorithm: str = "p256", days: int = 30) -> bytes:
    return authority.issue(*made, owner, algorithm=algorithm, now=NOW, days=days)


def certificate_of(pem: bytes) -> bytes:
    return pem[pem.index(b"-----BEGIN CERTIFICATE") :]


def openssl(*words: str, data: bytes = b"") -> tuple[int, str]:
    done = subprocess.run(["openssl", *words], input=data, capture_output=True, check=False, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("algorithm", ["rsa3072", "p256", "p384"])
def test_a_certificate_can_be_encrypted_to(made: tuple[bytes, bytes], algorithm: str) -> None:
    """Another Gatepost takes it under its address, and learns that AES-256-GCM is read."""
    (found,) = X509Reader().read(certificate_of(issued(made, "anna@hosp.test", algorithm)))

    assert (found.refusal, found.addresses) == ("", ("anna@hosp.test",))
    assert found.expires == (NOW + timedelta(days=30)).replace(microsecond=0)
    assert found.created < NOW - timedelta(minutes=30)


def test_a_domains_certificate_bears_the_names_of_its_kind(made: tuple[bytes, bytes]) -> None:
    """RFC 3183: what decrypts and signs for a whole domain is named so, in subject and address."""
    (found,) = X509Reader().read(certificate_of(issued(made, "hosp.test")))

    assert found.addresses == (
        "domain-confidentiality-authority@hosp.test",
        "domain-signing-authority@hosp.test",
    )
    assert found.user_ids == ("CN=domain-confidentiality-authority,O=hosp.test",)


def test_two_certificates_share_neither_serial_nor_key(made: tuple[bytes, bytes]) -> None:
    """Serial numbers are random and positive, and every certificate has a key of its own."""
    found = [x509.load_pem_x509_certificate(certificate_of(issued(made, "a@hosp.test"))) for _ in range(2)]

    assert len({one.serial_number for one in found}) == 2
    assert all(one.serial_number > 1 << 64 for one in found)
    assert len({one.public_key().public_numbers() for one in found}) == 2  # type: ignore[union-attr]


def test_no_certificate_outlives_its_authority(made: tuple[bytes, bytes]) -> None:
    """One that would is refused, with both remedies."""
    with pytest.raises(CryptoError, match=r"expires on .*--days.*--new-ca"):
        issued(made, "a@hosp.test", days=DAYS + 1)


def test_an_address_that_x509_cannot_name_is_refused(made: tuple[bytes, bytes]) -> None:
    """Local parts beyond ASCII need another kind of name, which mail programs do not read."""
    with pytest.raises(CryptoError, match="only ASCII"):
        issued(made, "änne@hosp.test")


def test_only_the_chain_is_kept() -> None:
    """Of certificates in any order those that lead up to the root are kept, in order, without it, and no other."""
    names = (("root", "root"), ("b", "root"), ("c", "b"), ("d", "c"), ("other", "root"))
    root, upper, lower, leaf, other = (signed(*one) for one in names)

    assert authority.chain_of(leaf, (other, lower, root, leaf, upper)) == (lower, upper)
    assert authority.chain_of(leaf, (upper, lower)) == (lower, upper)
    assert authority.chain_of(leaf, (root, upper)) == ()
    assert authority.chain_of(root, (root,)) == ()


def signed(name: str, issuer: str) -> bytes:
    """Make a certificate of which only the names count."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, above = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer))
    builder = x509.CertificateBuilder(above, subject, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@pytest.mark.real
class TestOpenssl:
    """What OpenSSL says."""

    @pytest.mark.parametrize(
        ("owner", "algorithm", "purpose"),
        [
            ("anna@hosp.test", "rsa3072", "smimeencrypt"),
            ("anna@hosp.test", "rsa3072", "smimesign"),
            ("anna@hosp.test", "p256", "smimesign"),
            ("anna@hosp.test", "p384", "smimesign"),
            ("x@deep.sub.hosp.test", "p256", "smimesign"),
            ("hosp.test", "rsa3072", "smimeencrypt"),
        ],
    )
    def test_the_chain_verifies(
        self, made: tuple[bytes, bytes], tmp_path: Path, owner: str, algorithm: str, purpose: str
    ) -> None:
        """By X.509's strict rules, for the purpose."""
        status, told = verified(made, tmp_path, issued(made, owner, algorithm), purpose)

        assert status == 0, told

    @pytest.mark.parametrize("owner", ["eve@other.test", "eve@hosp.test.other.test", "other.test"])
    def test_it_vouches_for_our_domains_only(self, made: tuple[bytes, bytes], tmp_path: Path, owner: str) -> None:
        """Whoever stole its key could still not make certificates for others that verify."""
        status, told = verified(made, tmp_path, issued(made, owner), "smimesign")

        assert (status, "permitted subtree violation" in told) == (2, True)

    def test_nobody_below_it_is_an_authority(self, made: tuple[bytes, bytes], tmp_path: Path) -> None:
        """A certificate that it issued vouches for nobody."""
        (tmp_path / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(made[0]))
        _, told = openssl("x509", "-in", str(tmp_path / "ca.pem"), "-noout", "-text")
        _, leaf = openssl("x509", "-noout", "-text", data=certificate_of(issued(made, "a@hosp.test")))

        assert "CA:TRUE, pathlen:0" in told
        assert "Certificate Sign, CRL Sign" in told
        assert "CA:FALSE" in leaf
        assert "E-mail Protection" in leaf
        assert "Digital Signature, Key Agreement" in leaf

    @pytest.mark.parametrize(("owner", "name"), [("a@hosp.test", "a@hosp.test"), ("hosp.test", "domain-signing")])
    def test_it_reads_requests(self, owner: str, name: str) -> None:
        """A request is signed by its own key and says what the certificate should."""
        pem, _ = authority.request(owner, "p256")
        status, told = openssl("req", "-verify", "-noout", "-text", data=pem.encode())

        assert (status, "verify OK" in told) == (0, True)
        for wanted in (name, "E-mail Protection", "Digital Signature, Key Agreement", "S/MIME Capabilities"):
            assert wanted in told


def verified(made: tuple[bytes, bytes], folder: Path, pem: bytes, purpose: str) -> tuple[int, str]:
    (folder / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(made[0]))
    (folder / "leaf.pem").write_bytes(certificate_of(pem))
    files = ("-CAfile", str(folder / "ca.pem"), str(folder / "leaf.pem"))
    return openssl("verify", "-x509_strict", "-purpose", purpose, *files)


@pytest.mark.real
@pytest.mark.parametrize("owner", ["anna@hosp.test", "hosp.test"])
def test_gpgsm_takes_it(made: tuple[bytes, bytes], owner: str) -> None:
    """It finds the certificate good below its authority, encrypts to it, and OpenSSL opens that."""
    with short_folder() as home:
        home.chmod(0o700)
        root = x509.load_der_x509_certificate(made[0])
        (home / "trustlist.txt").write_text(f"{name_of(root)} S relax\n")
        pem = issued(made, owner, "rsa3072")
        leaf = x509.load_pem_x509_certificate(certificate_of(pem))
        for each in (root, leaf):
            gpgsm(home, "--import", data=each.public_bytes(Encoding.DER))
        listed = gpgsm(home, "--with-validation", "-k", f"0x{name_of(leaf)}")
        sealed = gpgsm(home, "-e", "-r", f"0x{name_of(leaf)}", data=b"the data")
        (home / "both.pem").write_bytes(pem)
        opened = subprocess.run(
            ["openssl", "cms", "-decrypt", "-inform", "DER", "-recip", str(home / "both.pem")],
            input=sealed,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=60)

    assert b"[certificate is good]" in listed
    assert opened == b"the data"


def name_of(certificate: x509.Certificate) -> str:
    """Name a certificate as gpgsm does."""
    return certificate.fingerprint(SHA1()).hex().upper()  # noqa: S303 - gpgsm names it so


def gpgsm(home: Path, *words: str, data: bytes = b"") -> bytes:
    options = ("--batch", "--disable-crl-checks", "--disable-dirmngr", "--homedir", str(home))
    done = subprocess.run(["gpgsm", *options, *words], input=data, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
