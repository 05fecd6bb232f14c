"""
The outside world's S/MIME: certificates and decryption by OpenSSL, the counterpart of what Gatepost writes.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

KEYS = {
    "rsa": ("-newkey", "rsa:2048"),
    "p256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "p384": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "p521": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"),
    "ed25519": ("-newkey", "ed25519"),
    "rsa-pss": ("-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"),
}
"""Kinds of keys that sign for themselves; beside them there is `x25519`, whose certificate another key signs."""
READS_GCM = "1.2.840.113549.1.9.15=DER:300d300b060960864801650304012e"
"""The extension SMIMECapabilities (RFC 4262) that announces AES-256-GCM."""


class Smime:
    """Correspondents with self-signed certificates, in files ADDRESS.pem and ADDRESS.key of a folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made."""
        self.folder = folder
        folder.mkdir()

    @property
    def addresses(self) -> list[str]:
        """Whom there are certificates for, addresses and domains."""
        return sorted(file.name.removesuffix(".pem") for file in self.folder.glob("*.pem"))

    def certificate(self, address: str, kind: str = "p256", *extensions: str) -> Path:
        """Make a key of a kind and its certificate for an address; gives the certificate's file."""
        alternative = f"subjectAltName=email:{address}" if "@" in address else f"subjectAltName=DNS:{address}"
        if kind == "x25519":
            return self._agreeing(address, alternative, *extensions)
        options = [
            word for one in (alternative, "basicConstraints=CA:FALSE", *extensions) for word in ("-addext", one)
        ]
        files = ("-keyout", f"{address}.key", "-out", f"{address}.pem")
        self._openssl(
            "req", "-x509", "-nodes", *KEYS[kind], "-subj", f"/CN={address}", "-days", "30", *options, *files
        )
        return self.folder / f"{address}.pem"

    def _agreeing(self, address: str, *extensions: str) -> Path:
        """Make a certificate with a key for X25519, which cannot sign (RFC 8410)."""
        key, public, authority = f"{address}.key", f"{address}.public", (f"{address}.issuer", f"{address}.issuing")
        self._openssl("genpkey", "-algorithm", "x25519", "-out", key)
        self._openssl("pkey", "-in", key, "-pubout", "-out", public)
        files = ("-keyout", authority[1], "-out", authority[0])
        self._openssl("req", "-x509", "-nodes", *KEYS["p256"], "-subj", "/CN=issuer", *files)
        (self.folder / "extensions").write_text("\n".join(("subjectKeyIdentifier=hash", *extensions)))
        issuing = ("-CA", authority[0], "-CAkey", authority[1], "-days", "30", "-extfile", "extensions")
        whole = ("-new", "-subj", f"/CN={address}", "-force_pubkey", public, "-out", f"{address}.pem")
        self._openssl("x509", *whole, *issuing)
        return self.folder / f"{address}.pem"

    def der(self, address: str) -> tuple[bytes, bytes]:
        """Give that correspondent's certificate and key (PKCS #8) in DER."""
        certificate = self._openssl("x509", "-in", f"{address}.pem", "-outform", "DER")
        return certificate, self._openssl(
            "pkcs8", "-topk8", "-nocrypt", "-in", f"{address}.key", "-outform", "DER"
        )

    def pkcs12(self, address: str) -> bytes:
        """Give that correspondent's key and certificate as PKCS #12, without passphrase, in old algorithms."""
        old = ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1", "-passout", "pass:")
        return self._openssl("pkcs12", "-export", "-in", f"{address}.pem", "-inkey", f"{address}.key", *old)

    def private(self, address: str) -> Path:
        """Give a file with that correspondent's key and certificate, as `key import --private` reads it."""
        both = self.folder / f"{address}.both"
        both.write_bytes(b"".join((self.folder / f"{address}.{half}").read_bytes() for half in ("key", "pem")))
        return both

    def encrypt(
        self,
        entity: bytes,
        *addresses: str,
        options: Sequence[str] = ("-aes-256-gcm",),
        key_options: Sequence[str] = (),
    ) -> bytes:
        """
        Encrypt an entity to correspondents, as `openssl cms` does; gives CMS in DER, or in BER with -stream.

        `key_options` are those of -keyopt, for each of them.
        """
        each = [word for one in key_options for word in ("-keyopt", one)]
        files = [word for address in addresses for word in ("-recip", f"{address}.pem", *each)]
        return self._openssl("cms", "-encrypt", "-binary", "-outform", "DER", *options, *files, data=entity)

    def sign(self, entity: bytes, address: str, *options: str) -> bytes:
        """Sign an entity, which stands in what comes out: CMS in DER."""
        signer = ("-signer", f"{address}.pem", "-inkey", f"{address}.key")
        return self._openssl(
            "cms", "-sign", "-nodetach", "-binary", "-outform", "DER", *options, *signer, data=entity
        )

    def signature(self, entity: bytes, address: str) -> bytes:
        """Sign an entity that stands beside the signature: CMS in DER."""
        signer = ("-signer", f"{address}.pem", "-inkey", f"{address}.key")
        return self._openssl("cms", "-sign", "-binary", "-outform", "DER", *signer, data=entity)

    def verify(self, message: bytes, address: str, *options: str) -> bytes:
        """Verify a message as signed by that correspondent; gives the signed entity, or raises RuntimeError."""
        trusted = ("-CAfile", f"{address}.pem", "-purpose", "any")
        return self._openssl("cms", "-verify", *trusted, *options, data=message)

    def signer(self, entity: bytes, authority: str) -> str:
        """Verify a signed entity under an authority, a file here; names the signer, or raises RuntimeError."""
        self._openssl("cms", "-verify", "-CAfile", authority, "-signer", "signer", "-out", "signed", data=entity)
        return self._openssl("x509", "-in", "signer", "-noout", "-email").decode().split()[0]

    def printed(self, content: bytes) -> str:
        """Print CMS, in DER, for people."""
        return self._openssl("cms", "-cmsout", "-print", "-inform", "DER", data=content).decode(errors="replace")

    def decrypt(self, message: bytes, address: str) -> bytes:
        """Decrypt a whole message as that correspondent; gives the entity inside, or raises RuntimeError."""
        keys = ("-recip", f"{address}.pem", "-inkey", f"{address}.key")
        return self._openssl("cms", "-decrypt", "-binary", *keys, data=message)

    def readers(self, message: bytes, addresses: Sequence[str]) -> list[str]:
        """Tell which of these correspondents can open a message."""
        return [address for address in addresses if self._opens(message, address)]

    def _opens(self, message: bytes, address: str) -> bool:
        try:
            self.decrypt(message, address)
        except RuntimeError:
            return False
        return True

    def _openssl(self, *words: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, input=data, capture_output=True, check=False, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"openssl {words[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout
