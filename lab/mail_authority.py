"""
Authorities that certify people for mail, well or badly. OpenSSL is their office: it writes revocation lists,
answers OCSP, and judges chains.
"""

import datetime as dt
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from lab.place import free_port
from lab.wait import until

DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Extensions = Sequence[tuple[x509.ExtensionType, bool]]
"""Extensions, each with whether it is critical."""

AUTHORITY: Extensions = ((x509.BasicConstraints(ca=True, path_length=None), True),)
FOR_MAIL = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
FOR_OCSP = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])


def usage(*, certificates: bool = False, lists: bool = False, signs: bool = False) -> x509.KeyUsage:
    """Give a key usage with these bits."""
    return x509.KeyUsage(signs, False, False, False, False, certificates, lists, False, False)


def asked_at(*, ocsp: str = "", lists: str = "") -> Extensions:
    """Give the extensions that name where to ask whether a certificate is revoked."""
    found: list[tuple[x509.ExtensionType, bool]] = []
    if ocsp:
        place = x509.UniformResourceIdentifier(ocsp)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
        found.append((x509.AuthorityInformationAccess([access]), False))
    if lists:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(lists)], None, None, None)
        found.append((x509.CRLDistributionPoints([point]), False))
    return found


class Holder:
    """Somebody with a key and a certificate, who may issue others whether allowed to or not."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self.key = key

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        name: str,
        extensions: Extensions = (),
        *,
        address: str = "",
        starts: dt.datetime | None = None,
        ends: dt.datetime | None = None,
        in_subject: str = "",
        key: Key | None = None,
    ) -> "Holder":
        """Issue a certificate; `address` goes into subjectAltName, `in_subject` into the subject."""
        return _made(
            name, self, extensions, address=address, starts=starts, ends=ends, in_subject=in_subject, key=key
        )

    def person(self, address: str, extensions: Extensions = ()) -> "Holder":
        """Issue a certificate for mail to an address."""
        return self.issue(address, [(FOR_MAIL, False), *extensions], address=address)


def root(
    name: str = "Root",
    extensions: Extensions = AUTHORITY,
    *,
    ends: dt.datetime | None = None,
    key: Key | None = None,
) -> Holder:
    """Make an authority that vouches for itself."""
    return _made(name, None, extensions, ends=ends, key=key)


def _made(
    name: str,
    issuer: Holder | None,
    extensions: Extensions,
    *,
    address: str = "",
    starts: dt.datetime | None = None,
    ends: dt.datetime | None = None,
    in_subject: str = "",
    key: Key | None = None,
) -> Holder:
    now = dt.datetime.now(dt.UTC)
    key = key or ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if in_subject:
        attributes.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, in_subject))
    subject = x509.Name(attributes)
    by = issuer.key if issuer else key
    builder = x509.CertificateBuilder(
        issuer.certificate.subject if issuer else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        starts or now - 9 * DAY,
        ends or now + 9 * DAY,
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
    builder = builder.add_extension(issued_by, critical=False)
    if address:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(address)]), critical=False)
    for one, critical in extensions:
        builder = builder.add_extension(one, critical=critical)
    return Holder(builder.sign(by, hashes.SHA256()), key)


class Office:
    """The register of one authority in a folder, kept by `openssl ca`."""

    def __init__(self, folder: Path, authority: Holder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.authority = authority
        self._rows: dict[int, str] = {}
        self._file("ca.pem").write_bytes(authority.pem)
        self._key("ca.key", authority)
        self._file("crlnumber").write_text("01\n")
        self._file("openssl.cnf").write_text(
            "[ca]\ndefault_ca=own\n[own]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\n"
            "certificate=ca.pem\nprivate_key=ca.key\ndefault_crl_days=1\ncrl_extensions=ext\n"
            "[ext]\nauthorityKeyIdentifier=keyid\n"
        )

    @cached_property
    def _port(self) -> int:
        return free_port()

    @property
    def ocsp(self) -> str:
        """The URL of the responder, whether it runs or not."""
        return f"http://127.0.0.1:{self._port}/"

    def enter(self, holder: Holder, revoked: str = "") -> None:
        """Write a certificate into the register, as good or as `revoked` for a reason."""
        certificate = holder.certificate
        ends = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
        state = "R" if revoked else "V"
        when = f"{dt.datetime.now(dt.UTC) - DAY:%y%m%d%H%M%SZ},{revoked}" if revoked else ""
        number = f"{certificate.serial_number:X}"
        number = number.rjust(len(number) + len(number) % 2, "0")
        self._rows[certificate.serial_number] = f"{state}\t{ends}\t{when}\t{number}\tunknown\t/CN=x\n"
        self._file("index.txt").write_text("".join(self._rows.values()))

    def weak_responder(self) -> Holder:
        """Make a responder whose certificate is signed with SHA-1, which OpenSSL still does."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Weak")])
        )
        self._file("extensions").write_text("extendedKeyUsage=OCSPSigning\n")
        pem = request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions", "-sha1")
        return Holder(x509.load_pem_x509_certificate(self._openssl("x509", "-req", *by, data=pem)), key)

    def revocations(self, *options: str) -> bytes:
        """Write the revocation list, in DER; `options` are those of `openssl ca`."""
        self._file("index.txt").touch()
        pem = self._openssl("ca", "-config", "openssl.cnf", "-gencrl", *options)
        return self._openssl("crl", "-outform", "DER", data=pem)

    def answer(self, request: bytes, signer: Holder | None = None, *options: str) -> bytes:
        """Answer an OCSP request, in DER, signed by the authority or another."""
        self._file("request.der").write_bytes(request)
        files = ("-reqin", "request.der", "-respout", "answer.der")
        self._openssl("ocsp", *self._answering(signer), *files, *options)
        return self._file("answer.der").read_bytes()

    @contextmanager
    def responder(self, signer: Holder | None = None, *options: str) -> Iterator[None]:
        """Serve OCSP at `self.ocsp`, signed by the authority or another; who is entered later is not known."""
        command = ("openssl", "ocsp", "-port", str(self._port), *self._answering(signer), *options)
        with (
            self._file("responder.log").open("wb") as log,
            subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log) as process,
        ):
            try:
                # A connection without a question would keep it from all others
                until(lambda: b"waiting for" in self._file("responder.log").read_bytes(), 15, "OCSP is served")
                yield
            finally:
                process.kill()

    def _answering(self, signer: Holder | None) -> Sequence[str]:
        self._file("index.txt").touch()
        self._file("signer.pem").write_bytes((signer or self.authority).pem)
        self._key("signer.key", signer or self.authority)
        return ("-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem", "-rkey", "signer.key")

    def _file(self, name: str) -> Path:
        return self._folder / name

    def _key(self, name: str, holder: Holder) -> None:
        data = holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._file(name).write_bytes(data)

    def _openssl(self, *arguments: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ("openssl", *arguments), cwd=self._folder, input=data, capture_output=True, check=True
        )
        return done.stdout


def openssl_verifies(
    folder: Path, leaf: Holder, beside: Sequence[Holder], roots: Sequence[Holder], *options: str
) -> bool:
    """Tell whether `openssl verify` takes a chain for mail; `options` are further ones of it."""
    for name, holders in (("leaf", [leaf]), ("beside", beside), ("roots", roots)):
        (folder / f"{name}.pem").write_bytes(b"".join(one.pem for one in holders))
    untrusted = ("-untrusted", "beside.pem") if beside else ()
    command = ("openssl", "verify", "-no-CAfile", "-no-CApath", "-no-CAstore", "-purpose", "smimesign")
    done = subprocess.run(
        (*command, *options, "-CAfile", "roots.pem", *untrusted, "leaf.pem"),
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
