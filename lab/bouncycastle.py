"""
Bouncy Castle, the other named implementation of CMS: for Ed25519 and X25519, and beside OpenSSL for the rest.

One Java program, lab/BouncyCastle.java, runs for as long as it is needed and answers many requests. Certificates
are DER, keys PKCS #8 in DER.
"""

import base64
import contextlib
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("bcprov", "bcpkix", "bcutil"))
_PROGRAM = Path(__file__).with_name("BouncyCastle.java")


class BouncyCastleError(RuntimeError):
    """Bouncy Castle refused, or failed."""


class BouncyCastle:
    """The running program; use it as a context manager. It starts in about two seconds."""

    def __enter__(self) -> Self:
        options = ("-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # start soon, be small
        self._process = subprocess.Popen(
            ["java", *options, "-cp", _JARS, str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def encrypt(self, content: bytes, cipher: str, recipients: Iterable[tuple[str, bytes]]) -> bytes:
        """
        Encrypt to recipients, each a method and a certificate; gives CMS.

        A method is `rsa`, `oaep-SHA-256` or another hash, or a scheme and a key wrap: `sha256/aes128`, for X25519
        also `hkdf-sha256/aes256`; `+keyid` and `+ukm` behind it name the recipient by key identifier and add user
        keying material. A cipher is `aes256-cbc`, or `aes256-gcm`, where `+attributes` behind it has some
        authenticated too.
        """
        words = [f"{method}:{_word(certificate)}" for method, certificate in recipients]
        return self._ask("encrypt", cipher, _word(content), *words)

    def decrypt(self, data: bytes, key: bytes, certificate: bytes) -> bytes:
        """Decrypt CMS; raises BouncyCastleError."""
        return self._ask("decrypt", _word(data), _word(key), _word(certificate))

    def sign(
        self, content: bytes, algorithm: str, key: bytes, certificate: bytes, *, attached: bool = False
    ) -> bytes:
        """Sign content by `Ed25519`, `SHA256withECDSA`, `SHA256withRSAandMGF1` and the like; gives CMS in DER."""
        how = "attached" if attached else "detached"
        return self._ask("sign", algorithm, how, _word(content), _word(key), _word(certificate))

    def verify(self, data: bytes, certificates: Iterable[bytes], content: bytes | None = None) -> bytes:
        """
        Give the content of signed CMS, or what was given where it stands elsewhere.

        Raises BouncyCastleError where nobody signed, a signature is wrong, or by another than these certificates.
        """
        detached = "-" if content is None else _word(content)
        return self._ask("verify", _word(data), detached, *map(_word, certificates))

    def _ask(self, *words: str) -> bytes:
        to, answers = _open(self._process.stdin), _open(self._process.stdout)
        with contextlib.suppress(BrokenPipeError):  # it ended, and has said why
            to.write(" ".join(words).encode() + b"\n")
            to.flush()
        said, _, rest = answers.readline().decode().strip().partition(" ")
        if said != "ok":
            raise BouncyCastleError(rest or "it ended; see what it said before")
        return b"" if rest == "=" else base64.b64decode(rest)


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - it was opened with a pipe
    return stream


def _word(octets: bytes) -> str:
    return base64.b64encode(octets).decode() or "="
